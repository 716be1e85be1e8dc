import { address } from "../base/api";
import { count, items } from "../base/format";
import { LABEL, OUTCOMES } from "../base/outcomes";
import { Panel } from "../base/Panel";
import { EVERY } from "../base/poll";
import { Swatch } from "../base/Swatch";
import { usePolled } from "../base/usePolled";
import type { Map } from "../types";
import { Awaited } from "./Awaited";
import { Cells } from "./Cells";
import { Legend } from "./Legend";

/** The whole input from its first item to its last, and where in it what became of the items. */
export function InputMap({ uid, every }: { uid: string; every: number | null }) {
  const polled = usePolled<Map>(address(`scatters/${uid}/map`, { cells: 400 }), every && 2 * EVERY);
  const { cells = [], total = 0 } = polled.data ?? {};
  const [first] = cells;
  const note = first ? `${items(total)} in ${count(cells.length)} cells of ${count(first.stop - first.start)}` : undefined;
  return (
    <Panel
      actions={<Legend entries={OUTCOMES.map((one) => [<Swatch key={one} outcome={one} />, LABEL[one]])} />}
      note={note}
      title="Map of the input"
    >
      <Awaited empty={(map) => map.cells.length === 0} height="120px" nothing="No item is known yet." polled={polled}>
        {(map) => <Cells cells={map.cells} />}
      </Awaited>
    </Panel>
  );
}
