import { Badge, Box, Heading, Stack, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { plural } from "../base/format";
import { Notice } from "../base/Notice";
import { Source } from "../base/Source";
import { RetryButton } from "../steer/RetryButton";
import type { FailureDetail } from "../types";

/** What happened to one item: the error, the item itself, its traceback, what it said. */
export function ItemStory({ item }: { item: FailureDetail }) {
  const lines = item.lines.map((line) => `${line.level.padEnd(8)} ${line.text}`).join("\n");
  return (
    <Stack gap={5}>
      <Stack gap={2}>
        <Box>
          <Badge colorPalette="failed" fontFamily="mono" maxW="full" overflowWrap="anywhere" whiteSpace="normal" variant="subtle">
            {item.type}
          </Badge>
        </Box>
        <Text fontSize="md" overflowWrap="anywhere">
          {item.message || "(no message)"}
        </Text>
        <Text color="fg.muted" fontSize="sm" overflowWrap="anywhere">
          {plural(item.attempts, "execution")}, the last one on {item.worker}
          {item.key !== null && `; key ${item.key}`}
        </Text>
        <Box>
          <RetryButton chosen={{ positions: [item.pos] }} label="Retry this item" number={1} />
        </Box>
      </Stack>
      {item.note && item.amiss && <Notice kind="warning">{item.note}</Notice>}
      <Part title="Value">
        {item.item_repr ? (
          <Source label="Value of the item" wrap>
            {item.item_repr}
          </Source>
        ) : (
          <Nothing>not kept</Nothing>
        )}
      </Part>
      <Part title="Traceback">{item.traceback ? <Source label="Traceback">{item.traceback}</Source> : <Nothing>not kept</Nothing>}</Part>
      <Part title="Log lines">{lines ? <Source label="Log lines">{lines}</Source> : <Nothing>{(!item.amiss && item.note) || "the item printed and logged nothing"}</Nothing>}</Part>
    </Stack>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Stack gap={2}>
      <Heading as="h3" size="sm">
        {title}
      </Heading>
      {children}
    </Stack>
  );
}

function Nothing({ children }: { children: string }) {
  return (
    <Text color="fg.muted" fontSize="sm">
      {children}
    </Text>
  );
}
