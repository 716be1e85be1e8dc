import { Stack } from "@chakra-ui/react";

import { address } from "../base/api";
import { Loading } from "../base/Loading";
import { Stale } from "../base/Stale";
import { Trouble } from "../base/Trouble";
import { useDebounced } from "../base/useDebounced";
import { usePolled } from "../base/usePolled";
import type { Scatters } from "../types";
import { Filters } from "./Filters";
import { NoScatters } from "./NoScatters";
import { Pager } from "./Pager";
import type { Scope } from "./scope";
import { ScatterTable } from "./ScatterTable";
import { PAGE, useListQuery } from "./useListQuery";

/** A live list, with search, filter, sort and pages. */
export function ScatterList({ scope }: { scope: Scope }) {
  const [query, change] = useListQuery();
  const search = useDebounced(query.search);
  const url = address("scatters", { ...scope, ...query, limit: PAGE, search });
  const { data, problem, at, waiting, refresh } = usePolled<Scatters>(url);
  const chosen = Boolean(query.search || query.state || query.engine);

  function content() {
    if (!data) return problem ? <Trouble problem={problem} retry={refresh} /> : <Loading />;
    if (data.total === 0) return <NoScatters chosen={chosen} clear={() => change({ engine: "", search: "", state: "" })} />;
    return (
      <>
        <Stale at={at} problem={problem} />
        <ScatterTable dim={waiting} query={query} scatters={data.scatters} sortBy={(sort) => change({ sort })} />
        <Pager move={(offset) => change({ offset })} offset={query.offset} size={PAGE} total={data.total} />
      </>
    );
  }

  return (
    <Stack gap={3}>
      <Filters change={change} query={query} scatters={data?.scatters ?? []} />
      {content()}
    </Stack>
  );
}
