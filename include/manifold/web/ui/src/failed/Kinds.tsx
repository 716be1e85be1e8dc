import { Stack, Text } from "@chakra-ui/react";

import { count, plural } from "../base/format";
import { Panel } from "../base/Panel";
import { hindrance } from "../steer/sentences";
import { useSteering } from "../steer/Steering";
import type { ScatterDetail } from "../types";
import { KindRow } from "./KindRow";

interface Props {
  scatter: ScatterDetail;
  every: number | null;
  /** Show the items of one kind. */
  show: (fingerprint: string) => void;
}

/** The errors, grouped by what and where; the most frequent first. */
export function Kinds({ scatter, every, show }: Props) {
  const { errors, counts, uid } = scatter;
  const { refusal } = useSteering();
  const obstacle = refusal === null ? hindrance(scatter) : null;
  const rest = counts.failed - errors.reduce((sum, kind) => sum + kind.count, 0);
  return (
    <Panel note={[plural(errors.length, "kind"), obstacle].filter(Boolean).join(" · ")} title="Errors">
      <Stack as="ul" gap={0} listStyleType="none">
        {errors.map((kind) => (
          <KindRow every={every} failed={counts.failed} key={kind.fingerprint} kind={kind} show={show} uid={uid} />
        ))}
      </Stack>
      {rest > 0 && (
        <Text color="fg.muted" fontSize="sm" mt={2}>
          {count(rest)} more failed by rarer errors.
        </Text>
      )}
    </Panel>
  );
}
