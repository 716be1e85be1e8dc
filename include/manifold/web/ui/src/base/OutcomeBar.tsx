import { Box, Flex } from "@chakra-ui/react";

import type { Counts } from "../types";
import { count, items } from "./format";
import { LABEL, OUTCOMES, type Outcome } from "./outcomes";

/** One bar for all items; what is there at all is at least three pixels wide. */
export function OutcomeBar({ counts, height }: { counts: Counts; height: string }) {
  const parts = shares(counts);
  return (
    <Flex aria-label={inWords(counts)} borderRadius="sm" className={counts.total === null ? "mf-unknown" : "mf-pending"} h={height} overflow="hidden" role="img" w="full">
      {parts.map(([outcome, share]) => (
        <Box
          className={`mf-${outcome} mf-grow`}
          flexShrink={outcome === "failed" ? 0 : 1}
          key={outcome}
          minW={share > 0 && outcome !== "pending" ? "3px" : "0"}
          style={{ width: `${100 * share}%` }}
        />
      ))}
    </Flex>
  );
}

function shares(counts: Counts): [Outcome, number][] {
  const known = counts.succeeded + counts.failed + counts.skipped + counts.running;
  // Of an unknown whole, what is known takes up a part, and the rest is left open.
  const whole = Math.max(counts.total ?? 1.5 * known, known, 1);
  return OUTCOMES.filter((one) => one !== "pending").map((one) => [one, (counts[one] ?? 0) / whole]);
}

function inWords(counts: Counts): string {
  const told = OUTCOMES.flatMap((one) => (counts[one] ? [`${count(counts[one])} ${LABEL[one].toLowerCase()}`] : []));
  const of = counts.total === null ? "of an unknown number of items" : `of ${items(counts.total)}`;
  return `${told.join(", ") || "nothing yet"}, ${of}`;
}
