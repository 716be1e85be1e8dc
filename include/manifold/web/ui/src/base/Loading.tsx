import { Skeleton, Stack, VisuallyHidden } from "@chakra-ui/react";

/** The shape of what is to come. */
export function Loading({ rows = 6 }: { rows?: number }) {
  return (
    <Stack aria-busy gap={3} py={2} role="status">
      <VisuallyHidden>Loading</VisuallyHidden>
      <Skeleton borderRadius="md" h="88px" />
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton borderRadius="sm" h="36px" key={row} />
      ))}
    </Stack>
  );
}
