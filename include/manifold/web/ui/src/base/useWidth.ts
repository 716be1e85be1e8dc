import { useEffect, useRef, useState, type RefObject } from "react";

/** The width of an element in pixels, as it changes; 0 until it is known. */
export function useWidth<E extends Element>(): [RefObject<E | null>, number] {
  const ref = useRef<E>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const seen = new ResizeObserver(([entry]) => entry && setWidth(Math.floor(entry.contentRect.width)));
    if (ref.current) seen.observe(ref.current);
    return () => seen.disconnect();
  }, []);
  return [ref, width];
}
