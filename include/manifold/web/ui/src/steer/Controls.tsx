import { Button, Flex, Stack, Text } from "@chakra-ui/react";

import { Icon } from "../base/Icon";
import { hasEnded, isLive } from "../scatter/state";
import { AgainButton } from "./AgainButton";
import { MoreControls } from "./MoreControls";
import { RetryButton } from "./RetryButton";
import { continues, hindrance, restarts, withoutOutcome } from "./sentences";
import { useSteering } from "./Steering";
import { Told } from "./Told";

/** What can be done now; where the reader may not, the reason. */
export function Controls() {
  const { scatter, refusal, busy, control } = useSteering();
  const ended = hasEnded(scatter);
  const live = isLive(scatter.state);
  const paused = scatter.paused_by !== null || scatter.state === "drained";
  const { failed } = scatter.counts;
  const again = hindrance(scatter) === null;
  // What never ran is continued; a drained scatter by Resume.
  const waits = scatter.state !== "succeeded" && scatter.state !== "drained" && (scatter.counts.total === null || withoutOutcome(scatter.counts) > 0);
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
        {(live || scatter.state === "drained") && (
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
        {again && waits && (
          <AgainButton chosen={{ missing: true }} label="Continue" says={continues(scatter)} solid title="Continue this scatter?" />
        )}
        {failed > 0 && again && <RetryButton chosen={{}} label="Retry failed items" number={failed} solid={!waits} />}
        {again && (
          <AgainButton
            chosen={{ everything: true }}
            danger
            label="Run everything again"
            says={restarts(scatter)}
            title="Run everything again?"
          />
        )}
        {!ended && <MoreControls />}
      </Flex>
      <Told />
    </Stack>
  );
}
