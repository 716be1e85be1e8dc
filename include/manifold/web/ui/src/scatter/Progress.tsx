import { Box, Flex, Grid, Text } from "@chakra-ui/react";

import { about, count, duration, items, percent, rate } from "../base/format";
import { OutcomeBar } from "../base/OutcomeBar";
import { OUTCOMES } from "../base/outcomes";
import { useNow } from "../base/useNow";
import type { ScatterDetail } from "../types";
import { Figure } from "./Figure";
import { hasEnded, isLive, ranFor } from "./state";
import { Tally } from "./Tally";

/** How far it is: one large bar, the account of all items, and the speed. */
export function Progress({ scatter }: { scatter: ScatterDetail }) {
  const { counts } = scatter;
  const now = useNow();
  const ended = hasEnded(scatter);
  const done = counts.succeeded + counts.failed + counts.skipped;
  return (
    <Box aria-label="Progress" as="section" borderRadius="md" borderWidth="1px" p={{ base: 3, md: 5 }}>
      <Flex align="flex-end" columnGap={8} justify="space-between" mb={4} rowGap={3} wrap="wrap">
        <Flex align="baseline" gap={3} wrap="wrap">
          <Text as="span" fontSize={{ base: "3xl", md: "5xl" }} fontVariantNumeric="tabular-nums" fontWeight="semibold" letterSpacing="tight" lineHeight="1">
            {counts.total === null ? count(done) : `${counts.total_is_estimate ? "about " : ""}${percent(done, counts.total)}`}
          </Text>
          <Text as="span" color="fg.muted" fontVariantNumeric="tabular-nums">
            {counts.total === null
              ? "items so far, of an unknown number"
              : `${count(done)} of ${counts.total_is_estimate ? "about " : ""}${items(counts.total)}`}
          </Text>
        </Flex>
        <Flex columnGap={8} rowGap={2} wrap="wrap">
          <Figure label={ended ? "Mean rate" : "Rate"} value={scatter.rate === null ? "–" : rate(scatter.rate)} />
          {!ended && <Figure label="Time left" value={about(scatter.seconds_left)} />}
          <Figure label={isLive(scatter.state) ? "Running for" : ended ? "Took" : "Ran for"} value={duration(ranFor(scatter, now))} />
        </Flex>
      </Flex>
      <OutcomeBar counts={counts} height="24px" />
      <Grid as="dl" gap={{ base: 2, md: 4 }} mt={4} templateColumns={{ base: "repeat(2, 1fr)", sm: "repeat(3, 1fr)", md: "repeat(5, 1fr)" }}>
        {OUTCOMES.map((outcome) => (
          <Tally key={outcome} about={counts.total_is_estimate && outcome === "pending"} number={counts[outcome]} outcome={outcome} total={counts.total} />
        ))}
      </Grid>
    </Box>
  );
}
