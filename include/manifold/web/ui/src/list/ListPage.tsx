import { Heading, Stack, Text } from "@chakra-ui/react";

import { ScatterList } from "./ScatterList";

/** The page of its own: all scatters that the reader may see. */
export function ListPage() {
  return (
    <Stack gap={4}>
      <Stack gap={1}>
        <Heading as="h1" size="xl">
          Scatters
        </Heading>
        <Text color="fg.muted" fontSize="sm">
          Tasks that Manifold fans out over many items, the newest first.
        </Text>
      </Stack>
      <ScatterList scope={{}} />
    </Stack>
  );
}
