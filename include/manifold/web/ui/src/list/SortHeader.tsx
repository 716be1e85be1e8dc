import { chakra, Table, type TableColumnHeaderProps } from "@chakra-ui/react";

import { Icon } from "../base/Icon";

interface Props extends TableColumnHeaderProps {
  name: string;
  label: string;
  /** What it sorts by, where that is not the label. */
  note?: string;
  now: string;
  by: (sort: string) => void;
}

/** A column's head that sorts by it; a second press turns the order around. */
export function SortHeader({ name, label, note, now, by, ...cell }: Props) {
  const up = now === name;
  const down = now === `-${name}`;
  return (
    <Table.ColumnHeader aria-sort={up ? "ascending" : down ? "descending" : "none"} {...cell}>
      <chakra.button
        alignItems="center"
        cursor="pointer"
        display="inline-flex"
        fontWeight="inherit"
        gap={1}
        onClick={() => by(down ? name : `-${name}`)}
        title={`Sort ${note ?? `by ${label.toLowerCase()}`}`}
        type="button"
      >
        {label}
        {(up || down) && <Icon name={up ? "up" : "down"} size={3} />}
      </chakra.button>
    </Table.ColumnHeader>
  );
}
