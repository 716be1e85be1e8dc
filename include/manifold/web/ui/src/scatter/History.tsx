import { Table } from "@chakra-ui/react";

import { Breakable } from "../base/Breakable";
import { count, duration } from "../base/format";
import { Panel } from "../base/Panel";
import { When } from "../base/When";
import type { ScatterDetail } from "../types";

/** How each try ended and why; not shown where there was only one, which ended well or still runs. */
export function History({ scatter: { history } }: { scatter: ScatterDetail }) {
  if (history.length < 2 && history.every((one) => one.ending === null || one.ending === "succeeded")) return null;
  return (
    <Panel id="history" note={history.length === 1 ? "1 try" : `${count(history.length)} tries`} title="Tries">
      <Table.ScrollArea aria-label="Table of tries" maxH="420px" role="region" tabIndex={0} whiteSpace="normal">
        <Table.Root size="sm" stickyHeader>
          <Table.Header>
            <Table.Row>
              <Table.ColumnHeader>Try</Table.ColumnHeader>
              <Table.ColumnHeader>Began</Table.ColumnHeader>
              <Table.ColumnHeader>Took</Table.ColumnHeader>
              <Table.ColumnHeader>Ended</Table.ColumnHeader>
              <Table.ColumnHeader textAlign="end">Items</Table.ColumnHeader>
              <Table.ColumnHeader>Because</Table.ColumnHeader>
              <Table.ColumnHeader>By</Table.ColumnHeader>
            </Table.Row>
          </Table.Header>
          <Table.Body>
            {history.map((one, place) => (
              <Table.Row key={one.began_at}>
                <Table.Cell>{one.number && one.numbers ? `${one.number} of ${one.numbers}` : history.length - place}</Table.Cell>
                <Table.Cell whiteSpace="nowrap">
                  <When at={one.began_at} />
                </Table.Cell>
                <Table.Cell whiteSpace="nowrap">{one.ended_at === null ? "–" : duration(Math.max(0, one.ended_at - one.began_at))}</Table.Cell>
                <Table.Cell>{one.ending ?? "running"}</Table.Cell>
                <Table.Cell textAlign="end">{count(one.items)}</Table.Cell>
                <Table.Cell minW="220px" overflowWrap="anywhere">{one.message ?? one.why}</Table.Cell>
                <Table.Cell color="fg.muted" minW="140px" overflowWrap="anywhere"><Breakable text={one.owner} /></Table.Cell>
              </Table.Row>
            ))}
          </Table.Body>
        </Table.Root>
      </Table.ScrollArea>
    </Panel>
  );
}
