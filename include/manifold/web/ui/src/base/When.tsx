import { chakra } from "@chakra-ui/react";

import { ago } from "./format";
import { absolute } from "./times";
import { useNow } from "./useNow";

/** How long ago something was; the exact time is in its title. */
export function When({ at }: { at: number }) {
  const now = useNow();
  return (
    <chakra.time dateTime={new Date(at * 1000).toISOString()} title={absolute(at)} whiteSpace="nowrap">
      {ago(Math.max(0, now - at))}
    </chakra.time>
  );
}
