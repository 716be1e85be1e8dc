import { chakra, Link, Table, Text } from "@chakra-ui/react";

import { Breakable } from "../base/Breakable";
import { count } from "../base/format";
import { Tick } from "../base/Tick";
import type { Failure } from "../types";

interface Props {
  item: Failure;
  open: () => void;
  /** Absent where the reader may choose none. */
  picked?: boolean;
  set?: (on: boolean) => void;
}

export function FailedRow({ item, open, picked = false, set }: Props) {
  return (
    <Table.Row verticalAlign="top">
      <Table.Cell>{set && <Tick label={`Item ${count(item.pos)}`} on={picked} set={set} />}</Table.Cell>
      <Table.Cell textAlign="end" whiteSpace="nowrap">
        <Link asChild color="fg.info" fontVariantNumeric="tabular-nums">
          <button aria-haspopup="dialog" onClick={open} title="Traceback and log lines" type="button">
            {count(item.pos)}
          </button>
        </Link>
        {item.key !== null && (
          <Text color="fg.muted" fontSize="xs" ml="auto" title={item.key} truncate>
            {item.key}
          </Text>
        )}
      </Table.Cell>
      <Table.Cell overflowWrap="anywhere">
        <Text as="span" fontFamily="mono" fontSize="xs" fontWeight="medium" mr={2}>
          {item.type}
        </Text>
        <Text as="span" lineClamp={2}>
          {item.message}
        </Text>
      </Table.Cell>
      <Table.Cell display={{ base: "none", md: "table-cell" }}>
        <chakra.code color="fg.muted" fontSize="xs" lineClamp={2} overflowWrap="anywhere">
          {item.item_repr ?? "–"}
        </chakra.code>
      </Table.Cell>
      <Table.Cell display={{ base: "none", lg: "table-cell" }} textAlign="end">
        {count(item.attempts)}
      </Table.Cell>
      <Table.Cell color="fg.muted" display={{ base: "none", xl: "table-cell" }} fontSize="xs" overflowWrap="anywhere">
        <Breakable text={item.worker} />
      </Table.Cell>
    </Table.Row>
  );
}
