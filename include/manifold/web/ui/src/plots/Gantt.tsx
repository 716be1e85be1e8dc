import { Box, chakra } from "@chakra-ui/react";
import { useId } from "react";

import { serverTime } from "../base/api";
import { duration, items, plural, span } from "../base/format";
import { clock } from "../base/times";
import { useWidth } from "../base/useWidth";
import type { Bar } from "../types";
import { BarShape, type Look } from "./BarLook";
import { rowsOf } from "./lanes";
import { Patterns } from "./Patterns";
import { Readout } from "./Readout";
import { timeTicks } from "./ticks";
import { usePick } from "./usePick";

const LANE = 11;
const GAP = 8;
const NAME = 16;
const AXIS = 22;

interface Placed {
  bar: Bar;
  index: number;
  x: number;
  y: number;
  width: number;
}

/** The bars by worker over time; the name of each worker stands above its bars. */
export function Gantt({ bars }: { bars: Bar[] }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const id = useId();
  const now = serverTime();
  const from = Math.min(...bars.map((bar) => bar.began_at));
  const to = Math.max(...bars.map((bar) => bar.ended_at ?? now), from + 0.001);
  const x = (at: number): number => ((at - from) / (to - from)) * (width - 2);

  let y = 0;
  const placed: Placed[] = [];
  const names = rowsOf(bars, now).map((row) => {
    const top = y;
    for (const { bar, index, lane } of row.bars) {
      const left = x(bar.began_at);
      placed.push({ bar, index, width: Math.max(2, x(bar.ended_at ?? now) - left), x: left, y: top + NAME + lane * LANE });
    }
    y += NAME + row.lanes * LANE + GAP;
    return { label: row.waiting ? `${row.worker}: ${plural(row.waiting, "chunk")}` : row.worker, top, worker: row.worker };
  });
  placed.sort((a, b) => a.index - b.index);

  const find = (px: number, py: number): number | null => {
    const index = placed.findIndex((one) => px >= one.x - 1 && px <= one.x + one.width + 1 && py >= one.y && py < one.y + LANE);
    return index < 0 ? null : index;
  };
  const { picked, handlers } = usePick(placed.length, find);
  const seen = picked === null ? undefined : placed[picked];
  return (
    <Box ref={ref} w="full">
      <Box maxH="480px" overflowY="auto">
        <chakra.svg aria-label={summary(bars)} color="fg.muted" display="block" fontSize="11px" h={`${y + AXIS}px`} role="img" w="full" {...handlers}>
          <Patterns id={id} />
          {timeTicks(from, to, Math.max(2, width / 120)).map((at) => (
            <g key={at}>
              <line stroke="var(--mf-grid)" x1={x(at)} x2={x(at)} y1={0} y2={y} />
              <text fill="currentColor" textAnchor="middle" x={Math.min(Math.max(x(at), 24), width - 24)} y={y + 14}>
                {clock(at)}
              </text>
            </g>
          ))}
          {names.map(({ label, top, worker }) => (
            <text fill="currentColor" key={worker} x={0} y={top + 11}>
              {label}
            </text>
          ))}
          {placed.map((one) => (
            <BarShape height={LANE - 2} id={id} key={one.index} looks={looks(one.bar)} width={one.width} x={one.x} y={one.y} />
          ))}
          {seen && <rect fill="none" height={LANE} stroke="var(--mf-mark)" strokeWidth={2} width={seen.width + 2} x={seen.x - 1} y={seen.y - 1} />}
        </chakra.svg>
      </Box>
      <Readout>{seen ? told(seen.bar, now) : "Point at a chunk, or go through them with the arrow keys."}</Readout>
    </Box>
  );
}

function looks(bar: Bar): Look[] {
  const found: Look[] = [bar.state];
  if (bar.why === "speculative") found.push("copy");
  if (bar.failed > 0) found.push("failed");
  return found;
}

const WHY: Record<Bar["why"], string> = {
  first: "",
  half: ", a part of one that was lost",
  lost: ", again after a loss",
  redrive: ", a retry of failed items",
  speculative: ", a second copy of a straggler",
};
const STATE: Record<Bar["state"], string> = {
  committed: "committed",
  lost: "lost",
  running: "still running",
  superseded: "not counted, another copy was first",
};

function told(bar: Bar, now: number): string {
  const what = `${span(bar.start, bar.stop)} (${items(bar.stop - bar.start)}${WHY[bar.why]})`;
  const took = duration((bar.ended_at ?? now) - bar.began_at);
  const failed = bar.failed ? `, ${items(bar.failed)} failed` : "";
  return `${bar.worker ?? "Worker not known yet"}: ${what}, from ${clock(bar.began_at)} for ${took}, ${STATE[bar.state]}${failed}`;
}

function summary(bars: Bar[]): string {
  const lost = bars.filter((bar) => bar.state === "lost").length;
  return `Timeline of ${bars.length} chunks, ${lost} of them lost. Arrow keys read out each chunk.`;
}
