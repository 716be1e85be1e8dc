import { memo } from "react";

import type { Outcome } from "../base/outcomes";
import type { Cell } from "../types";
import { SIDE } from "./Cells";

// From below to above. What failed is on top of what succeeded, and never thinner than can be seen.
const ORDER: Outcome[] = ["succeeded", "skipped", "failed", "running"];
const THINNEST: Partial<Record<Outcome, number>> = { failed: 4, running: 3, skipped: 2 };

interface Props {
  cell: Cell;
  x: number;
  y: number;
  /** Of the patterns. */
  id: string;
}

export const CellMark = memo(function CellMark({ cell, x, y, id }: Props) {
  const size = cell.stop - cell.start;
  let level = SIDE;
  const layers = ORDER.filter((one) => cell[one] > 0).map((one) => {
    const height = Math.min(Math.max((cell[one] / size) * SIDE, THINNEST[one] ?? 0), level);
    level -= height;
    return { height, one, top: level };
  });
  return (
    <g>
      <rect fill="var(--mf-pending)" height={SIDE} rx={2} width={SIDE} x={x} y={y} />
      {layers.map(({ height, one, top }) => (
        <rect fill={fill(one, id)} height={height} key={one} rx={1} width={SIDE} x={x} y={y + top} />
      ))}
    </g>
  );
}, same);

const fill = (outcome: Outcome, id: string): string =>
  outcome === "failed" || outcome === "running" ? `url(#${id}-${outcome})` : `var(--mf-${outcome})`;

/** Each answer has new objects; only cells that changed are drawn again. */
function same(was: Props, is: Props): boolean {
  const names = ["succeeded", "failed", "skipped", "running", "start", "stop"] as const;
  return was.x === is.x && was.y === is.y && names.every((name) => was.cell[name] === is.cell[name]);
}
