import { Flex, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** Names of what a drawing shows, each with its look. */
export function Legend({ entries }: { entries: [look: ReactNode, name: string][] }) {
  return (
    <Flex as="ul" color="fg.muted" columnGap={4} fontSize="xs" listStyleType="none" rowGap={1} wrap="wrap">
      {entries.map(([look, name]) => (
        <Flex align="center" as="li" gap={1.5} key={name}>
          {look}
          <Text as="span">{name}</Text>
        </Flex>
      ))}
    </Flex>
  );
}
