import { chakra } from "@chakra-ui/react";

// Drawn on a grid of 16: strokes of 1.6, round ends.
const PATHS = {
  back: "M10 3 5 8l5 5",
  close: "m4 4 8 8m0-8-8 8",
  down: "m4 6 4 4 4-4",
  export: "M8 2v8m-3-3 3 3 3-3M3 13h10",
  fail: "m5 5 6 6m0-6-6 6",
  more: "M8 3.2v.1m0 4.6v.1m0 4.6v.1",
  next: "m6 3 5 5-5 5",
  ok: "m3.5 8.5 3 3 6-7",
  open: "M9 3h4v4m0-4L7.5 8.5M11 9.5V13H3V5h3.5",
  pause: "M5.5 3.5v9m5-9v9",
  play: "M5 3.5v9l7-4.5z",
  retry: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5V5h-2.5",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zm3.6-1.4L14 14",
  stop: "M4 4h8v8H4z",
  up: "m4 10 4-4 4 4",
  warn: "M8 2.2 14.5 13.5h-13zM8 6.5v3m0 2v.1",
} as const;

export type IconName = keyof typeof PATHS;

/** A small picture beside a word; it says nothing to a screen reader. */
export function Icon({ name, size = 4 }: { name: IconName; size?: number }) {
  return (
    <chakra.svg
      aria-hidden
      boxSize={size}
      fill="none"
      flexShrink={0}
      stroke="currentColor"
      strokeLinecap="round"
      strokeLinejoin="round"
      strokeWidth={1.6}
      viewBox="0 0 16 16"
    >
      <path d={PATHS[name]} />
    </chakra.svg>
  );
}
