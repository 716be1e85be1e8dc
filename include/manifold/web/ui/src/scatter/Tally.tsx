import { Box, Flex, Text } from "@chakra-ui/react";

import { count, percent } from "../base/format";
import { LABEL, type Outcome } from "../base/outcomes";
import { Swatch } from "../base/Swatch";

interface Props {
  outcome: Outcome;
  number: number | null;
  total: number | null;
  /** The number is an estimate. */
  about?: boolean;
}

/** One line of the account: how many items, and their share. */
export function Tally({ outcome, number, total, about = false }: Props) {
  const alarm = outcome === "failed" && Boolean(number);
  return (
    <Box>
      <Flex align="center" as="dt" color="fg.muted" fontSize="sm" gap={2}>
        <Swatch outcome={outcome} />
        {LABEL[outcome]}
      </Flex>
      <Box as="dd" fontVariantNumeric="tabular-nums">
        <Text as="span" color={alarm ? "var(--mf-alarm)" : "fg"} fontSize="xl" fontWeight="semibold">
          {number === null ? "not known" : `${about ? "about " : ""}${count(number)}`}
        </Text>
        {Boolean(number) && total !== null && (
          <Text as="span" color="fg.muted" fontSize="xs" ml={2}>
            {percent(number ?? 0, total)}
          </Text>
        )}
      </Box>
    </Box>
  );
}
