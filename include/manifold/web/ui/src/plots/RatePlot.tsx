import { address } from "../base/api";
import { EVERY } from "../base/poll";
import { Panel } from "../base/Panel";
import { usePolled } from "../base/usePolled";
import type { Rate } from "../types";
import { Awaited } from "./Awaited";
import { RateCurve } from "./RateCurve";

/** How fast it went, from its beginning to now. */
export function RatePlot({ uid, every }: { uid: string; every: number | null }) {
  const polled = usePolled<Rate>(address(`scatters/${uid}/rate`, { points: 120 }), every && 2 * EVERY);
  return (
    <Panel note="items per second" title="Rate">
      <Awaited
        empty={({ points }) => points.length < 2}
        height="220px"
        nothing="There is nothing to draw before some chunks are committed."
        polled={polled}
      >
        {({ points }) => <RateCurve points={points} />}
      </Awaited>
    </Panel>
  );
}
