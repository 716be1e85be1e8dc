import { Skeleton, Table, Text, VisuallyHidden } from "@chakra-ui/react";

import type { Problem } from "../base/api";
import { Tick } from "../base/Tick";
import { useSteering } from "../steer/Steering";
import type { Failure } from "../types";
import { FailedRow } from "./FailedRow";

interface Props {
  failures: Failure[] | undefined;
  problem: Problem | undefined;
  dim: boolean;
  picked: ReadonlySet<number>;
  pick: (picked: ReadonlySet<number>) => void;
  open: (pos: number) => void;
}

export function FailedTable({ failures, problem, dim, picked, pick, open }: Props) {
  const { refusal } = useSteering();
  if (!failures) return problem ? <Text fontSize="sm">{problem.message}</Text> : <Skeleton h="160px" />;
  if (failures.length === 0) {
    return (
      <Text color="fg.muted" fontSize="sm" py={4}>
        No failed item fits this choice.
      </Text>
    );
  }
  const all = failures.every((item) => picked.has(item.pos));
  const toggle = (positions: number[], on: boolean): void => {
    const fresh = new Set(picked);
    positions.forEach((pos) => (on ? fresh.add(pos) : fresh.delete(pos)));
    pick(fresh);
  };
  const mayPick = refusal === null;
  return (
    <Table.ScrollArea whiteSpace="normal">
      <Table.Root aria-busy={dim} interactive opacity={dim ? 0.6 : 1} size="sm" tableLayout="fixed">
        <Table.Header>
          <Table.Row>
            <Table.ColumnHeader w="40px">
              {mayPick ? (
                <Tick label="All items of this page" on={all} set={(on) => toggle(failures.map((item) => item.pos), on)} />
              ) : (
                <VisuallyHidden>Choice</VisuallyHidden>
              )}
            </Table.ColumnHeader>
            <Table.ColumnHeader textAlign="end" w={{ base: "110px", md: "190px" }}>Item</Table.ColumnHeader>
            <Table.ColumnHeader>Error</Table.ColumnHeader>
            <Table.ColumnHeader display={{ base: "none", md: "table-cell" }} w="26%">Value</Table.ColumnHeader>
            <Table.ColumnHeader display={{ base: "none", lg: "table-cell" }} textAlign="end" w="100px">
              Attempts
            </Table.ColumnHeader>
            <Table.ColumnHeader display={{ base: "none", xl: "table-cell" }} w="200px">Worker</Table.ColumnHeader>
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {failures.map((item) => (
            <FailedRow
              item={item}
              key={item.pos}
              open={() => open(item.pos)}
              {...(mayPick ? { picked: picked.has(item.pos), set: (on: boolean) => toggle([item.pos], on) } : {})}
            />
          ))}
        </Table.Body>
      </Table.Root>
    </Table.ScrollArea>
  );
}
