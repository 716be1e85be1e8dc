import { Flex, Heading, Link, Stack, Text } from "@chakra-ui/react";
import { Link as RouterLink, useSearchParams } from "react-router-dom";

import { Breakable } from "../base/Breakable";
import { Icon } from "../base/Icon";
import { LIST_PATH, taskPath, title } from "../base/links";
import { StateBadge } from "../base/StateBadge";
import type { Scope } from "../list/scope";
import { Controls } from "../steer/Controls";
import type { ScatterDetail } from "../types";

/** Which scatter it is, how it stands, and what can be done about it. */
export function Header({ scatter, within }: { scatter: ScatterDetail; within: Scope | null }) {
  const [params] = useSearchParams();
  const list = new URLSearchParams(params);
  list.delete("scatter");
  const { task } = scatter;
  return (
    <Stack gap={2}>
      {within && (
        <Link asChild color="fg.muted" fontSize="sm" gap={1} w="fit-content">
          <RouterLink to={{ search: list.toString() }}>
            <Icon name="back" size={3} /> All scatters{within.dag_id ? " of this page" : ""}
          </RouterLink>
        </Link>
      )}
      <Flex align="flex-start" gap={3} justify="space-between" wrap="wrap">
        <Stack gap={1} minW={0}>
          <Flex align="center" gap={3} wrap="wrap">
            <Heading as="h1" overflowWrap="anywhere" size="xl">
              {title(scatter)}
            </Heading>
            <StateBadge large state={scatter.state} />
          </Flex>
          <Text color="fg.muted" fontSize="sm" overflowWrap="anywhere">
            {task && (
              <>
                {scatter.run_deleted ? (
                  task.run_id
                ) : (
                  <Link asChild color="fg.info">
                    <RouterLink to={taskPath(task)}>{task.run_id}</RouterLink>
                  </Link>
                )}
                {" · "}
              </>
            )}
            {scatter.function} on <Breakable text={scatter.engine} />
            {scatter.tries > 1 && ` · try ${scatter.tries}`}
            {!within && (
              <>
                {" · "}
                <Link asChild color="fg.info">
                  <RouterLink to={LIST_PATH}>all scatters</RouterLink>
                </Link>
              </>
            )}
          </Text>
        </Stack>
        <Controls />
      </Flex>
    </Stack>
  );
}
