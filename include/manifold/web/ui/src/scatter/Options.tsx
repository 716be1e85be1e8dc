import { chakra, Grid, Text } from "@chakra-ui/react";
import { Fragment, type ReactNode } from "react";

import { count } from "../base/format";
import { Panel } from "../base/Panel";
import { When } from "../base/When";
import type { ScatterDetail } from "../types";

/** What it was begun with, and who is at work: for whoever looks closer. */
export function Options({ scatter }: { scatter: ScatterDetail }) {
  const { chunks, settings, policy } = scatter;
  const facts: [string, ReactNode][] = [
    ["Scatter", <chakra.code key="uid">{scatter.uid}</chakra.code>],
    ["Started", <When at={scatter.created_at} key="began" />],
    ["Coordinator", scatter.coordinator ?? "nobody"],
    ["Tries", count(scatter.tries)],
    ["Chunks committed", count(chunks.committed)],
    ["Chunks in flight", count(chunks.in_flight)],
    ["Chunks lost", count(chunks.lost)],
    ["Second copies sent", count(chunks.speculative)],
    ["Concurrency", settings.max_concurrency === null ? "as many as the engine has slots" : count(settings.max_concurrency)],
    ["Rate limit", settings.rate_limit === null ? "none" : `${settings.rate_limit}/s`],
    ["Tolerates failures", settings.tolerate],
  ];
  const others = Object.entries(policy).filter(([name, value]) => !(name in settings) && value !== null && value !== "");
  return (
    <Panel title="Details">
      <Facts facts={facts} />
      {others.length > 0 && (
        <chakra.details mt={4}>
          <chakra.summary cursor="pointer" fontSize="sm">
            Options it was begun with
          </chakra.summary>
          <chakra.div mt={3}>
            <Facts facts={others.map(([name, value]) => [name, <chakra.code key={name}>{JSON.stringify(value)}</chakra.code>])} />
          </chakra.div>
        </chakra.details>
      )}
    </Panel>
  );
}

function Facts({ facts }: { facts: [string, ReactNode][] }) {
  return (
    <Grid as="dl" columnGap={4} fontSize="sm" rowGap={1.5} templateColumns={{ base: "minmax(0, 1fr)", lg: "160px minmax(0, 1fr) 160px minmax(0, 1fr)", sm: "160px minmax(0, 1fr)" }}>
      {facts.map(([name, value]) => (
        <Fragment key={name}>
          <Text as="dt" color="fg.muted">
            {name}
          </Text>
          <Text as="dd" fontVariantNumeric="tabular-nums" mb={{ base: 1, sm: 0 }} overflowWrap="anywhere">
            {value}
          </Text>
        </Fragment>
      ))}
    </Grid>
  );
}
