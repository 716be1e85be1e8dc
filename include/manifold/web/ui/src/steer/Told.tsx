import { CloseButton, Flex, Text } from "@chakra-ui/react";

import { useSteering } from "./Steering";

/** What became of the latest action; read out when it changes. */
export function Told() {
  const { said, dismiss } = useSteering();
  return (
    <Flex align="flex-start" aria-live="polite" gap={1} maxW="md" role="status">
      {said && (
        <>
          <Text color={said.bad ? "var(--mf-alarm)" : "fg.muted"} fontSize="sm" overflowWrap="anywhere" pt="2px">
            {said.text}
          </Text>
          <CloseButton aria-label="Dismiss" onClick={dismiss} size="2xs" />
        </>
      )}
    </Flex>
  );
}
