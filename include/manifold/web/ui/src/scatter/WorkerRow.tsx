import { Box, Flex, Table, Text } from "@chakra-ui/react";

import { Breakable } from "../base/Breakable";
import { ago, count, plural, rate } from "../base/format";
import type { Worker } from "../types";

export function WorkerRow({ worker, ended }: { worker: Worker; ended: boolean }) {
  const gone = !worker.alive;
  return (
    <Table.Row color={gone ? "fg.muted" : "fg"} data-alive={worker.alive} fontVariantNumeric="tabular-nums">
      <Table.Cell minW="140px" overflowWrap="anywhere" whiteSpace="normal">
        <Flex align="center" gap={2}>
          <Box
            aria-hidden
            bg={gone ? "transparent" : "var(--mf-succeeded)"}
            borderColor={gone ? "fg.subtle" : "transparent"}
            borderRadius="full"
            borderWidth="2px"
            boxSize="10px"
            flexShrink={0}
          />
          <Breakable text={worker.name} />
          {gone && !ended && (
            <Text as="span" fontSize="xs" fontWeight="medium">
              gone
            </Text>
          )}
        </Flex>
      </Table.Cell>
      <Table.Cell minW="110px" overflowWrap="anywhere" whiteSpace="normal"><Breakable text={worker.host} /></Table.Cell>
      <Table.Cell textAlign="end">{worker.pid}</Table.Cell>
      <Table.Cell whiteSpace="nowrap">{ago(worker.seconds_silent)}</Table.Cell>
      <Table.Cell minW="170px">{busyWith(worker)}</Table.Cell>
      <Table.Cell textAlign="end">{count(worker.items)}</Table.Cell>
      <Table.Cell textAlign="end">{count(worker.chunks)}</Table.Cell>
      <Table.Cell textAlign="end" whiteSpace="nowrap">
        {worker.rate === null || ended ? "–" : rate(worker.rate)}
      </Table.Cell>
    </Table.Row>
  );
}

function busyWith({ alive, busy }: Worker): string {
  if (!alive) return "–";
  return busy === 0 ? "idle" : plural(busy, "chunk");
}
