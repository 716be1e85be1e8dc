import { chakra } from "@chakra-ui/react";

/** A traceback, an item, a log: text as it is, which scrolls within its box. */
export function Source({ children, label }: { children: string; label: string }) {
  return (
    <chakra.pre
      aria-label={label}
      bg="bg.muted"
      borderRadius="sm"
      fontFamily="mono"
      fontSize="xs"
      lineHeight="1.55"
      maxH="360px"
      overflow="auto"
      p={3}
      role="region"
      tabIndex={0}
      whiteSpace="pre"
    >
      {children}
    </chakra.pre>
  );
}
