import { Flex, Input, InputGroup } from "@chakra-ui/react";
import { useRef } from "react";

import { Choice } from "../base/Choice";
import { Icon } from "../base/Icon";
import { Tick } from "../base/Tick";
import type { Scatter } from "../types";
import type { ListQuery } from "./useListQuery";

const STATES = ["running", "paused", "draining", "drained", "stopped", "succeeded", "failed", "cancelled"];

interface Props {
  query: ListQuery;
  change: (change: Partial<ListQuery>) => void;
  scatters: Scatter[];
}

export function Filters({ query, change, scatters }: Props) {
  const engines = useSeen(scatters.map((one) => one.engine).concat(query.engine || []));
  return (
    <Flex aria-label="Filter the list" as="form" gap={2} onSubmit={(event) => event.preventDefault()} role="search" wrap="wrap">
      <InputGroup flex="1 1 260px" maxW={{ md: "420px" }} startElement={<Icon name="search" />}>
        <Input
          aria-label="Search by DAG, run, task or name"
          onChange={(event) => change({ search: event.target.value })}
          placeholder="Search by DAG, run, task or name"
          size="sm"
          type="search"
          value={query.search}
        />
      </InputGroup>
      <Choice
        all="Any state"
        label="State"
        onChange={(state) => change({ state })}
        options={STATES.map((state) => [state, state])}
        value={query.state}
      />
      <Choice
        all="Any engine"
        label="Engine"
        onChange={(engine) => change({ engine })}
        options={engines.map((engine) => [engine, engine])}
        value={query.engine}
      />
      <Tick label="Scatters of the deployment itself" on={query.system !== ""} set={(on) => change({ system: on ? "true" : "" })} shown />
    </Flex>
  );
}

/** All values that were seen so far: a filter does not take away the other choices. */
function useSeen(values: string[]): string[] {
  const seen = useRef(new Set<string>());
  values.forEach((value) => seen.current.add(value));
  return [...seen.current].sort();
}
