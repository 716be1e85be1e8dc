import { Table } from "@chakra-ui/react";

import type { Scatter } from "../types";
import { MIDDLE, WIDE, WIDEST } from "./columns";
import { ScatterRow } from "./ScatterRow";
import { SortHeader } from "./SortHeader";
import type { ListQuery } from "./useListQuery";

interface Props {
  scatters: Scatter[];
  query: ListQuery;
  sortBy: (sort: string) => void;
  /** What is shown is not yet what was asked for. */
  dim: boolean;
}

export function ScatterTable({ scatters, query, sortBy, dim }: Props) {
  const sort = { by: sortBy, now: query.sort };
  return (
    <Table.ScrollArea borderRadius="md" borderWidth="1px" whiteSpace="normal">
      <Table.Root aria-busy={dim} opacity={dim ? 0.6 : 1} size="sm">
        <Table.Header>
          <Table.Row>
            <SortHeader label="Scatter" name="name" {...sort} />
            <SortHeader display={MIDDLE} label="State" name="state" {...sort} />
            <SortHeader display={MIDDLE} label="Items" name="failed" note="by failed" w="34%" {...sort} />
            <Table.ColumnHeader display={WIDE} textAlign="end">
              Rate
            </Table.ColumnHeader>
            <Table.ColumnHeader display={WIDE} textAlign="end">
              Time left
            </Table.ColumnHeader>
            <SortHeader display={WIDE} label="Started" name="created" {...sort} />
            <Table.ColumnHeader display={WIDE} textAlign="end">
              Duration
            </Table.ColumnHeader>
            <SortHeader display={WIDEST} label="Engine" name="engine" {...sort} />
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {scatters.map((scatter) => (
            <ScatterRow key={scatter.uid} scatter={scatter} />
          ))}
        </Table.Body>
      </Table.Root>
    </Table.ScrollArea>
  );
}
