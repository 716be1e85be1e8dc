import { Badge } from "@chakra-ui/react";

import type { State } from "../types";
import { Icon, type IconName } from "./Icon";

// Airflow's own colours of states; the picture tells them apart without colour.
const LOOK: Record<State, [palette: string, icon: IconName]> = {
  cancelled: ["removed", "stop"],
  drained: ["up_for_reschedule", "pause"],
  draining: ["up_for_reschedule", "play"],
  failed: ["failed", "fail"],
  paused: ["up_for_retry", "pause"],
  running: ["running", "play"],
  stopped: ["upstream_failed", "warn"],
  succeeded: ["success", "ok"],
};

export function StateBadge({ state, large = false }: { state: State; large?: boolean }) {
  const [palette, icon] = LOOK[state] ?? LOOK.cancelled;
  return (
    <Badge borderRadius="full" colorPalette={palette} gap={1} px={large ? 3 : 2} size={large ? "lg" : "sm"} variant="subtle">
      <Icon name={icon} size={3} />
      {state}
    </Badge>
  );
}
