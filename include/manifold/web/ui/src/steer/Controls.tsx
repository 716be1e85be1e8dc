import { Button, Flex, Stack, Text } from "@chakra-ui/react";

import { Icon } from "../base/Icon";
import { hasEnded } from "../scatter/state";
import { MoreControls } from "./MoreControls";
import { RetryButton } from "./RetryButton";
import { hindrance } from "./sentences";
import { useSteering } from "./Steering";
import { Told } from "./Told";

/** What can be done now; where the reader may not, the reason. */
export function Controls() {
  const { scatter, refusal, busy, control } = useSteering();
  const ended = hasEnded(scatter);
  const paused = scatter.paused_by !== null || scatter.state === "drained";
  const { failed } = scatter.counts;
  if (refusal !== null) {
    return (
      <Text color="fg.muted" fontSize="sm" maxW="sm" textAlign={{ md: "end" }}>
        {refusal}
      </Text>
    );
  }
  return (
    <Stack align={{ base: "stretch", md: "flex-end" }} gap={2}>
      <Flex gap={2} wrap="wrap">
        {!ended && (
          <Button
            disabled={busy}
            onClick={() => void control({ value: {}, verb: paused ? "resume" : "pause" })}
            size="sm"
            variant={paused ? "solid" : "outline"}
          >
            <Icon name={paused ? "play" : "pause"} />
            {paused ? "Resume" : "Pause"}
          </Button>
        )}
        {failed > 0 && hindrance(scatter) === null && <RetryButton chosen={{}} label="Retry failed items" number={failed} solid />}
        {!ended && <MoreControls />}
      </Flex>
      <Told />
    </Stack>
  );
}
