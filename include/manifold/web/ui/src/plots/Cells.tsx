import { Box, chakra } from "@chakra-ui/react";
import { useId } from "react";

import { count, span } from "../base/format";
import { useWidth } from "../base/useWidth";
import { LABEL, OUTCOMES } from "../base/outcomes";
import type { Cell } from "../types";
import { CellMark } from "./CellMark";
import { Patterns } from "./Patterns";
import { Readout } from "./Readout";
import { usePick } from "./usePick";

const PITCH = 16;
export const SIDE = 14;

/** A square for each span of items, row by row, filled from below by what became of them. */
export function Cells({ cells }: { cells: Cell[] }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const id = useId();
  const columns = Math.max(1, Math.min(Math.floor((width + PITCH - SIDE) / PITCH), cells.length));
  const rows = Math.ceil(cells.length / columns);
  const find = (x: number, y: number): number | null => {
    const column = Math.floor(x / PITCH);
    const index = Math.floor(y / PITCH) * columns + column;
    return column < columns && index < cells.length ? index : null;
  };
  const { picked, handlers } = usePick(cells.length, find, columns);
  const seen = picked === null ? undefined : cells[picked];
  return (
    <Box ref={ref} w="full">
      {width > 0 && (
        <chakra.svg aria-label={summary(cells)} display="block" h={`${rows * PITCH}px`} role="img" w={`${columns * PITCH}px`} {...handlers}>
          <Patterns id={id} />
          {cells.map((cell, index) => (
            <CellMark cell={cell} id={id} key={cell.start} x={(index % columns) * PITCH} y={Math.floor(index / columns) * PITCH} />
          ))}
          {picked !== null && (
            <rect
              fill="none"
              height={SIDE + 1}
              rx={2}
              stroke="var(--mf-mark)"
              strokeWidth={2}
              width={SIDE + 1}
              x={(picked % columns) * PITCH - 0.5}
              y={Math.floor(picked / columns) * PITCH - 0.5}
            />
          )}
        </chakra.svg>
      )}
      <Readout>{seen ? told(seen) : "Point at a cell, or go through them with the arrow keys."}</Readout>
    </Box>
  );
}

function told(cell: Cell): string {
  const parts = OUTCOMES.filter((one) => cell[one] > 0).map((one) => `${count(cell[one])} ${LABEL[one].toLowerCase()}`);
  const what = span(cell.start, cell.stop);
  return `${what.charAt(0).toUpperCase()}${what.slice(1)}: ${parts.join(", ")}`;
}

function summary(cells: Cell[]): string {
  const done = cells.filter((cell) => cell.running + cell.pending === 0).length;
  const failed = cells.filter((cell) => cell.failed > 0).length;
  return `${count(cells.length)} cells: ${count(done)} done, ${count(failed)} with failed items. Arrow keys read out each cell.`;
}
