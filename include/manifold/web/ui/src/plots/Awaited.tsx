import { Skeleton, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import type { Polled } from "../base/usePolled";

interface Props<T> {
  polled: Polled<T>;
  /** Whether there is nothing to draw. */
  empty: (data: T) => boolean;
  /** What to say then. */
  nothing: string;
  height: string;
  children: (data: T) => ReactNode;
}

/** A drawing once its figures are there; before that its place, or why there is none. */
export function Awaited<T>({ polled, empty, nothing, height, children }: Props<T>) {
  const { data, problem } = polled;
  if (data !== undefined && !empty(data)) return children(data);
  if (data === undefined && !problem) return <Skeleton h={height} />;
  return (
    <Text color="fg.muted" fontSize="sm">
      {data === undefined ? problem?.message : nothing}
    </Text>
  );
}
