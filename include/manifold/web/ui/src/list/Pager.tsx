import { Button, Flex, Text } from "@chakra-ui/react";

import { count } from "../base/format";

interface Props {
  offset: number;
  size: number;
  total: number;
  move: (offset: number) => void;
}

export function Pager({ offset, size, total, move }: Props) {
  const last = Math.min(offset + size, total);
  return (
    <Flex align="center" as="nav" aria-label="Pages" gap={3} justify="space-between" wrap="wrap">
      <Text color="fg.muted" fontSize="sm">
        {count(Math.min(offset + 1, total))} to {count(last)} of {count(total)}
      </Text>
      {total > size && (
        <Flex gap={2}>
          <Button disabled={offset === 0} onClick={() => move(Math.max(0, offset - size))} size="xs" variant="outline">
            Previous
          </Button>
          <Button disabled={last >= total} onClick={() => move(offset + size)} size="xs" variant="outline">
            Next
          </Button>
        </Flex>
      )}
    </Flex>
  );
}
