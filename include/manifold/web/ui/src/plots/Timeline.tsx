import { address } from "../base/api";
import { plural } from "../base/format";
import { Panel } from "../base/Panel";
import { EVERY } from "../base/poll";
import { usePolled } from "../base/usePolled";
import type { Timeline as Answer } from "../types";
import { Awaited } from "./Awaited";
import { BarLook } from "./BarLook";
import { Gantt } from "./Gantt";
import { Legend } from "./Legend";

const LEGEND = ["committed", "running", "lost", "superseded", "copy", "failed"] as const;
const NAMES = { committed: "Committed", copy: "Second copy", failed: "With failed items", lost: "Lost", running: "Running", superseded: "Another copy counted" };

/** Who ran which chunk when: stragglers are long, losses are crossed out. */
export function Timeline({ uid, every }: { uid: string; every: number | null }) {
  const polled = usePolled<Answer>(address(`scatters/${uid}/timeline`, { limit: 600 }), every && 2 * EVERY);
  const { bars = [], more = false } = polled.data ?? {};
  return (
    <Panel
      actions={<Legend entries={LEGEND.map((look) => [<BarLook key={look} look={look} />, NAMES[look]])} />}
      note={more ? `the latest ${plural(bars.length, "chunk")}` : plural(bars.length, "chunk")}
      title="Timeline by worker"
    >
      <Awaited empty={(answer) => answer.bars.length === 0} height="160px" nothing="No chunk was sent yet." polled={polled}>
        {(answer) => <Gantt bars={answer.bars} />}
      </Awaited>
    </Panel>
  );
}
