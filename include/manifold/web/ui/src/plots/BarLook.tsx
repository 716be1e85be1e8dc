import { useId } from "react";

import { Patterns } from "./Patterns";

export type Look = "committed" | "running" | "lost" | "superseded" | "copy" | "failed";

/** A sample of the timeline's bars, for the legend. */
export function BarLook({ look }: { look: Look }) {
  const id = useId();
  return (
    <svg aria-hidden height={10} width={22}>
      <Patterns id={id} />
      <BarShape height={10} id={id} looks={[look]} width={22} x={0} y={0} />
    </svg>
  );
}

interface Shape {
  looks: Look[];
  x: number;
  y: number;
  width: number;
  height: number;
  id: string;
}

/** One bar: what became of it is its filling; a second copy has a dashed edge, and failed items a mark at its end. */
export function BarShape({ looks, x, y, width, height, id }: Shape) {
  const has = (look: Look): boolean => looks.includes(look);
  const fill = has("running") ? `url(#${id}-running)` : has("lost") ? "none" : `var(--mf-${has("superseded") ? "pending" : "succeeded"})`;
  const edge = has("lost") ? "var(--mf-failed)" : has("copy") ? "var(--mf-mark)" : "none";
  const mark = Math.min(width, 5);
  return (
    <g>
      <rect
        fill={fill}
        height={height - 1}
        rx={1.5}
        stroke={edge}
        strokeDasharray={has("copy") ? "3 2" : undefined}
        strokeWidth={1.4}
        width={Math.max(width - 1, 1)}
        x={x + 0.5}
        y={y + 0.5}
      />
      {has("failed") && <rect fill="var(--mf-failed)" height={height} width={mark} x={x + width - mark} y={y} />}
      {has("lost") && (
        <path d={`M${x + width / 2 - 3} ${y + height / 2 - 3}l6 6m0-6l-6 6`} stroke="var(--mf-failed)" strokeWidth={1.6} />
      )}
    </g>
  );
}
