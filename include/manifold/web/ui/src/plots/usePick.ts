import { useState, type KeyboardEvent, type PointerEvent } from "react";

interface Pick {
  /** Which mark is looked at; null for none. */
  picked: number | null;
  /** For the element that draws the marks. */
  handlers: {
    onBlur: () => void;
    onKeyDown: (event: KeyboardEvent) => void;
    onPointerLeave: () => void;
    onPointerMove: (event: PointerEvent<SVGSVGElement>) => void;
    tabIndex: number;
  };
}

/**
 * Looking at one of `n` marks: with the pointer (`find` tells which one is at x, y of the drawing), or with the arrow
 * keys, `row` marks up and down.
 */
export function usePick(n: number, find: (x: number, y: number) => number | null, row = 0): Pick {
  const [picked, pick] = useState<number | null>(null);
  const steps: Record<string, number> = { ArrowDown: row, ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, End: n, Home: -n };
  return {
    handlers: {
      onBlur: () => pick(null),
      onKeyDown: (event) => {
        const step = steps[event.key];
        if (event.key === "Escape") pick(null);
        if (!step || n === 0) return;
        event.preventDefault();
        pick((was) => Math.min(n - 1, Math.max(0, was === null ? (step > 0 ? 0 : n - 1) : was + step)));
      },
      onPointerLeave: () => pick(null),
      onPointerMove: (event) => {
        const box = event.currentTarget.getBoundingClientRect();
        pick(find(event.clientX - box.left, event.clientY - box.top));
      },
      tabIndex: 0,
    },
    picked: picked !== null && picked < n ? picked : null,
  };
}
