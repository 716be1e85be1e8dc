import { Box, Flex, Link, Stack, Table, Text } from "@chakra-ui/react";
import { Link as RouterLink, useSearchParams } from "react-router-dom";

import { Breakable } from "../base/Breakable";
import { about, duration, rate } from "../base/format";
import { Icon } from "../base/Icon";
import { subtitle, taskPath, title } from "../base/links";
import { OutcomeBar } from "../base/OutcomeBar";
import { StateBadge } from "../base/StateBadge";
import { When } from "../base/When";
import type { Scatter } from "../types";
import { Account } from "./Account";
import { MIDDLE, NARROW, WIDE, WIDEST } from "./columns";

export function ScatterRow({ scatter }: { scatter: Scatter }) {
  const [params] = useSearchParams();
  const open = new URLSearchParams(params);
  open.set("scatter", scatter.uid);
  const { task, counts } = scatter;
  return (
    <Table.Row>
      <Table.Cell maxW={{ base: "none", md: "300px" }} verticalAlign="top">
        <Flex align="center" gap={1}>
          <Link asChild color="fg.info" fontWeight="medium" overflowWrap="anywhere">
            <RouterLink to={{ search: open.toString() }}>{title(scatter)}</RouterLink>
          </Link>
          {task && !scatter.run_deleted && (
            <Link asChild color="fg.muted" p={1}>
              <RouterLink aria-label={`Task instance of ${title(scatter)}`} title="Task instance in Airflow" to={taskPath(task)}>
                <Icon name="open" size={3} />
              </RouterLink>
            </Link>
          )}
        </Flex>
        <Text color="fg.muted" fontSize="xs" overflowWrap="anywhere">
          {subtitle(scatter)}
          {scatter.run_deleted && " · the DAG run was deleted"}
        </Text>
        <Stack display={NARROW} gap={2} mt={2}>
          <Flex align="center" color="fg.muted" fontSize="xs" gap={2} wrap="wrap">
            <StateBadge state={scatter.state} />
            <When at={scatter.created_at} />
            {scatter.seconds_left !== null && <span>{about(scatter.seconds_left)} left</span>}
          </Flex>
          <OutcomeBar counts={counts} height="10px" />
          <Account counts={counts} />
        </Stack>
      </Table.Cell>
      <Table.Cell display={MIDDLE} verticalAlign="top">
        <StateBadge state={scatter.state} />
      </Table.Cell>
      <Table.Cell display={MIDDLE} verticalAlign="top">
        <Box minW="180px" pt="5px">
          <OutcomeBar counts={counts} height="10px" />
          <Account counts={counts} />
        </Box>
      </Table.Cell>
      <Figure>{scatter.rate === null ? "–" : rate(scatter.rate)}</Figure>
      <Figure>{about(scatter.seconds_left)}</Figure>
      <Table.Cell display={WIDE} verticalAlign="top">
        <When at={scatter.created_at} />
      </Table.Cell>
      <Figure>{duration(scatter.duration)}</Figure>
      <Table.Cell color="fg.muted" display={WIDEST} fontSize="xs" maxW="220px" minW="150px" overflowWrap="anywhere" verticalAlign="top">
        <Breakable text={scatter.engine} />
      </Table.Cell>
    </Table.Row>
  );
}

function Figure({ children }: { children: string }) {
  return (
    <Table.Cell display={WIDE} fontVariantNumeric="tabular-nums" textAlign="end" verticalAlign="top" whiteSpace="nowrap">
      {children}
    </Table.Cell>
  );
}
