import { Box } from "@chakra-ui/react";

import type { Outcome } from "./outcomes";

/** The colour and pattern of an outcome, beside its name. */
export function Swatch({ outcome }: { outcome: Outcome }) {
  return <Box aria-hidden borderRadius="2px" boxSize="12px" className={`mf-${outcome}`} flexShrink={0} />;
}
