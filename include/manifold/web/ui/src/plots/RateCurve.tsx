import { Box, chakra } from "@chakra-ui/react";

import { count, items, rate, short } from "../base/format";
import { clock } from "../base/times";
import { useWidth } from "../base/useWidth";
import type { RatePoint } from "../types";
import { Readout } from "./Readout";
import { ticks, timeTicks } from "./ticks";
import { usePick } from "./usePick";

const HEIGHT = 200;
const LEFT = 44;
const BOTTOM = 22;
const TOP = 8;

/** A step for each stretch of time: what succeeded or was skipped below, what failed on top. */
export function RateCurve({ points }: { points: RatePoint[] }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const from = points[0]?.at ?? 0;
  const last = points.at(-1);
  const to = last ? last.at + last.seconds : 1;
  const marks = ticks(Math.max(...points.map(speed)));
  const most = marks.at(-1) ?? 1;
  const right = Math.max(width, LEFT + 1);

  const x = (at: number): number => LEFT + ((at - from) / (to - from)) * (right - LEFT);
  const y = (perSecond: number): number => TOP + (1 - perSecond / most) * (HEIGHT - TOP - BOTTOM);
  const find = (at: number): number | null => {
    const index = points.findIndex((point) => x(point.at + point.seconds) >= at);
    return at < LEFT || index < 0 ? null : index;
  };
  const { picked, handlers } = usePick(points.length, find);
  const seen = picked === null ? undefined : points[picked];

  const steps = (of: (point: RatePoint) => number): string =>
    points.map((point) => `${x(point.at)},${y(of(point))} ${x(point.at + point.seconds)},${y(of(point))}`).join(" ");
  const floor = `${right},${y(0)} ${LEFT},${y(0)}`;
  return (
    <Box ref={ref} w="full">
      <chakra.svg
        aria-label={summary(points)}
        color="fg.muted"
        display="block"
        fontSize="11px"
        h={`${HEIGHT}px`}
        overflow="visible"
        role="img"
        w="full"
        {...handlers}
      >
        {marks.map((mark) => (
          <g key={mark}>
            <line stroke="var(--mf-grid)" x1={LEFT} x2={right} y1={y(mark)} y2={y(mark)} />
            <text dominantBaseline="middle" fill="currentColor" textAnchor="end" x={LEFT - 8} y={y(mark)}>
              {short(mark)}
            </text>
          </g>
        ))}
        {timeTicks(from, to, Math.max(2, (right - LEFT) / 110)).map((at) => (
          <text fill="currentColor" key={at} textAnchor="middle" x={Math.min(Math.max(x(at), LEFT + 22), right - 24)} y={HEIGHT - 5}>
            {clock(at)}
          </text>
        ))}
        <polygon fill="var(--mf-running)" opacity={0.22} points={`${steps(speed)} ${floor}`} />
        <polyline fill="none" points={steps(speed)} stroke="var(--mf-running)" strokeLinejoin="round" strokeWidth={1.8} />
        {points.some((point) => point.failed > 0) && (
          <polygon fill="var(--mf-failed)" points={`${steps((point) => point.failed / point.seconds)} ${floor}`} />
        )}
        {seen && (
          <line stroke="var(--mf-mark)" strokeDasharray="3 3" x1={middle(seen, x)} x2={middle(seen, x)} y1={TOP} y2={y(0)} />
        )}
      </chakra.svg>
      <Readout>{seen ? told(seen) : `${told(last)} (the latest)`}</Readout>
    </Box>
  );
}

const speed = (point: RatePoint): number => point.items / point.seconds;

const middle = (point: RatePoint, x: (at: number) => number): number => x(point.at + point.seconds / 2);

function told(point: RatePoint | undefined): string {
  if (!point) return "";
  const failed = point.failed ? `, ${count(point.failed)} of them failed` : "";
  return `${clock(point.at)} to ${clock(point.at + point.seconds)}: ${rate(speed(point))}, ${items(point.items)}${failed}`;
}

function summary(points: RatePoint[]): string {
  const best = Math.max(...points.map(speed));
  const last = points.at(-1);
  return `Rate over time: at the most ${rate(best)}, in the end ${last ? rate(speed(last)) : "nothing"}. Arrow keys read out each step.`;
}
