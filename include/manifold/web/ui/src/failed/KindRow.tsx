import { Badge, Box, Button, Flex, Text } from "@chakra-ui/react";
import { useId, useState } from "react";

import { count, percent } from "../base/format";
import { Icon } from "../base/Icon";
import { RetryButton } from "../steer/RetryButton";
import type { Kind } from "../types";
import { KindTraceback } from "./KindTraceback";

interface Props {
  kind: Kind;
  uid: string;
  /** All failed items: what the bar is a share of. */
  failed: number;
  every: number | null;
  show: (fingerprint: string) => void;
}

/** One kind of error: how many, what it says, where, and what can be done about it. */
export function KindRow({ kind, uid, failed, every, show }: Props) {
  const [open, setOpen] = useState(false);
  const details = useId();
  const share = Math.min(1, kind.count / Math.max(failed, 1));
  return (
    <Box as="li" borderTopWidth="1px" py={3} _first={{ borderTopWidth: 0, pt: 0 }} _last={{ pb: 0 }}>
      <Flex align="flex-start" columnGap={4} rowGap={2} wrap={{ base: "wrap", md: "nowrap" }}>
        <Box flexShrink={0} title={`${percent(kind.count, failed)} of the failed items`} w="96px">
          <Text fontSize="lg" fontVariantNumeric="tabular-nums" fontWeight="semibold" lineHeight="1.2">
            {count(kind.count)}
          </Text>
          <Box bg="var(--mf-pending)" borderRadius="2px" h="6px" mt={1} overflow="hidden">
            <Box className="mf-failed mf-grow" h="full" style={{ width: `${100 * share}%` }} />
          </Box>
        </Box>
        <Box flex="1 1 280px" minW={0}>
          <Badge colorPalette="failed" fontFamily="mono" maxW="full" overflowWrap="anywhere" whiteSpace="normal" size="sm" variant="subtle">
            {kind.type}
          </Badge>
          <Text fontSize="sm" lineClamp={2} mt={1} overflowWrap="anywhere">
            {kind.message || "(no message)"}
          </Text>
        </Box>
        <Flex gap={1.5} wrap="wrap">
          <Button aria-controls={details} aria-expanded={open} onClick={() => setOpen(!open)} px={2} size="xs" variant="ghost">
            <Icon name={open ? "up" : "down"} size={3} />
            Traceback
          </Button>
          <Button onClick={() => show(kind.fingerprint)} px={2} size="xs" variant="outline">
            Show items
          </Button>
          <RetryButton chosen={{ fingerprint: kind.fingerprint }} label={`Retry ${count(kind.count)}`} number={kind.count} />
        </Flex>
      </Flex>
      <Box id={details} mt={open ? 3 : 0}>
        {open && <KindTraceback every={every} fingerprint={kind.fingerprint} uid={uid} />}
      </Box>
    </Box>
  );
}
