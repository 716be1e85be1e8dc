import { Box, Flex, Stack, Text } from "@chakra-ui/react";

import { itemTime } from "../base/format";
import { Panel } from "../base/Panel";
import type { ItemSeconds } from "../types";

const ROWS: [name: keyof ItemSeconds, label: string][] = [
  ["p50", "Half take less than"],
  ["p90", "9 of 10 take less than"],
  ["p99", "99 of 100 take less than"],
];

/** How long an item takes, in three percentiles. */
export function ItemTime({ seconds }: { seconds: ItemSeconds | null }) {
  return (
    <Panel note="mean of each chunk" title="Time of an item">
      {seconds === null ? (
        <Text color="fg.muted" fontSize="sm">
          Known as soon as a chunk is committed.
        </Text>
      ) : (
        <Stack gap={5} pt={1}>
          {ROWS.map(([name, label]) => (
            <Box key={name}>
              <Flex align="baseline" gap={2} justify="space-between">
                <Text color="fg.muted" fontSize="sm">
                  {label}
                </Text>
                <Text fontVariantNumeric="tabular-nums" fontWeight="semibold">
                  {itemTime(seconds[name])}
                </Text>
              </Flex>
              <Box bg="var(--mf-pending)" borderRadius="2px" h="8px" mt={1} overflow="hidden">
                <Box bg="var(--mf-running)" className="mf-grow" h="full" style={{ width: `${share(seconds, name)}%` }} />
              </Box>
            </Box>
          ))}
        </Stack>
      )}
    </Panel>
  );
}

const share = (seconds: ItemSeconds, name: keyof ItemSeconds): number =>
  seconds.p99 > 0 ? Math.max(1, (100 * seconds[name]) / seconds.p99) : 0;
