import { Flex, Text } from "@chakra-ui/react";

import { count, percent } from "../base/format";
import type { Counts } from "../types";

/** "62.4% of 2,000,000", and what is not as it should be. */
export function Account({ counts }: { counts: Counts }) {
  const done = counts.succeeded + counts.failed + counts.skipped;
  return (
    <Flex columnGap={3} fontSize="xs" fontVariantNumeric="tabular-nums" justify="space-between" mt={1} wrap="wrap">
      <Text color="fg.muted">
        {counts.total === null
          ? `${count(done)} of an unknown number`
          : `${counts.total_is_estimate ? "about " : ""}${percent(done, counts.total)} of ${counts.total_is_estimate ? "about " : ""}${count(counts.total)}`}
        {counts.skipped > 0 && `, ${count(counts.skipped)} skipped`}
      </Text>
      {counts.failed > 0 && (
        <Text color="var(--mf-alarm)" fontWeight="medium">
          {count(counts.failed)} failed
        </Text>
      )}
    </Flex>
  );
}
