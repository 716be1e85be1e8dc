import { Stack, Text } from "@chakra-ui/react";

/** One number with its name above it. */
export function Figure({ label, value }: { label: string; value: string }) {
  return (
    <Stack gap={0}>
      <Text color="fg.muted" fontSize="xs">
        {label}
      </Text>
      <Text fontSize="lg" fontVariantNumeric="tabular-nums" fontWeight="medium" whiteSpace="nowrap">
        {value}
      </Text>
    </Stack>
  );
}
