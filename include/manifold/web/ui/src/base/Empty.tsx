import { Center, Heading, Stack, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** What stands where there is nothing to show: why, and what to do. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Center px={4} py={{ base: 10, md: 16 }}>
      <Stack align="center" gap={3} maxW="lg" textAlign="center">
        <Heading as="h2" size="md">
          {title}
        </Heading>
        {children !== undefined && (
          <Text as="div" color="fg.muted" fontSize="sm" lineHeight="1.6">
            {children}
          </Text>
        )}
        {action}
      </Stack>
    </Center>
  );
}
