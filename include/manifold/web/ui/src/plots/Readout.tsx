import { Text } from "@chakra-ui/react";

/** What the mark that is looked at says; a fixed line, so that nothing moves. */
export function Readout({ children }: { children: string }) {
  return (
    <Text aria-live="polite" color="fg.muted" fontSize="xs" fontVariantNumeric="tabular-nums" minH="18px" mt={2} overflowWrap="anywhere">
      {children}
    </Text>
  );
}
