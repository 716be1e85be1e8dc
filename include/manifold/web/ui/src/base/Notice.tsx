import { Box, Flex, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { Icon, type IconName } from "./Icon";

type Kind = "good" | "news" | "warning" | "bad";

const LOOK: Record<Kind, [palette: string, icon: IconName]> = {
  bad: ["red", "fail"],
  good: ["green", "ok"],
  news: ["blue", "next"],
  warning: ["orange", "warn"],
};

interface Props {
  kind: Kind;
  children: ReactNode;
  action?: ReactNode;
  /** Read out at once when it appears. */
  urgent?: boolean;
}

/** A sentence across the page about what a person should know now. */
export function Notice({ kind, children, action, urgent = false }: Props) {
  const [palette, icon] = LOOK[kind];
  return (
    <Flex
      align="flex-start"
      bg={{ _dark: "colorPalette.subtle/50", _light: "colorPalette.subtle" }}
      borderLeftWidth="4px"
      borderColor="colorPalette.solid"
      borderRadius="sm"
      colorPalette={palette}
      gap={3}
      px={4}
      py={3}
      role={urgent ? "alert" : "status"}
    >
      <Box color="colorPalette.fg" pt="3px">
        <Icon name={icon} />
      </Box>
      <Text as="div" color="fg" flex={1} fontSize="sm" lineHeight="1.5" minW={0} overflowWrap="anywhere">
        {children}
      </Text>
      {action}
    </Flex>
  );
}
