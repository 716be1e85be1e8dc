import { Box, Flex, Heading, Text } from "@chakra-ui/react";
import { useId, type ReactNode } from "react";

interface Props {
  title: string;
  /** A short figure or sentence beside the title. */
  note?: ReactNode;
  /** Buttons at the right. */
  actions?: ReactNode;
  id?: string;
  children: ReactNode;
}

/** One part of the page, with a heading that names it for everybody. */
export function Panel({ title, note, actions, id, children }: Props) {
  const heading = useId();
  return (
    <Box aria-labelledby={heading} as="section" borderRadius="md" borderWidth="1px" id={id} minW={0} p={{ base: 3, md: 4 }}>
      <Flex align="center" gap={3} justify="space-between" mb={3} minH={8} wrap="wrap">
        <Flex align="baseline" gap={3} minW={0} wrap="wrap">
          <Heading as="h2" id={heading} size="md">
            {title}
          </Heading>
          {note !== undefined && (
            <Text color="fg.muted" fontSize="sm">
              {note}
            </Text>
          )}
        </Flex>
        {actions}
      </Flex>
      {children}
    </Box>
  );
}
