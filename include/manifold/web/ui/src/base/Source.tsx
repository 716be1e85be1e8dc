import { chakra } from "@chakra-ui/react";

/** A traceback, an item, a log: text as it is, which scrolls within its box. */
export function Source({ children, label, wrap = false }: { children: string; label: string; wrap?: boolean }) {
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
      overflowWrap={wrap ? "anywhere" : "normal"}
      whiteSpace={wrap ? "pre-wrap" : "pre"}
    >
      {children}
    </chakra.pre>
  );
}
