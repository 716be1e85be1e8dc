import { Button, Flex, Text } from "@chakra-ui/react";
import { useState } from "react";

import { address } from "../base/api";
import { items } from "../base/format";
import { Icon } from "../base/Icon";
import { Panel } from "../base/Panel";
import { useDebounced } from "../base/useDebounced";
import { usePolled } from "../base/usePolled";
import { RetryButton } from "../steer/RetryButton";
import type { Failures, ScatterDetail } from "../types";
import { FailedFilters } from "./FailedFilters";
import { FailedTable } from "./FailedTable";
import { ItemDrawer } from "./ItemDrawer";

const PAGE = 10;

interface Props {
  scatter: ScatterDetail;
  every: number | null;
  /** The kind of error whose items are shown; "" for all. */
  chosen: string;
  choose: (fingerprint: string) => void;
}

/** The quarantine: the items that are failed now, in pages by position. */
export function FailedItems({ scatter, every, chosen, choose }: Props) {
  const [typed, setTyped] = useState("");
  const search = useDebounced(typed);
  const choice = `${chosen} ${search}`;
  // Where each page seen so far begins; it is forgotten as soon as the choice is another.
  const [pages, setPages] = useState<{ choice: string; after: number[] }>({ after: [], choice });
  const after = pages.choice === choice ? pages.after : [];
  const [open, setOpen] = useState<number | null>(null);
  const [picked, setPicked] = useState<ReadonlySet<number>>(new Set());

  const url = address(`scatters/${scatter.uid}/failures`, { after: after.at(-1), fingerprint: chosen, limit: PAGE, search });
  const { data, problem, waiting } = usePolled<Failures>(url, every);
  const next = data?.next ?? null;
  const kind = scatter.errors.find((one) => one.fingerprint === chosen);
  const go = (to: number[]): void => setPages({ after: to, choice });

  return (
    <Panel
      actions={
        <Flex gap={2} wrap="wrap">
          {picked.size > 0 && (
            <RetryButton
              chosen={{ positions: [...picked].sort((a, b) => a - b) }}
              done={() => setPicked(new Set())}
              label={`Retry ${items(picked.size)}`}
              number={picked.size}
            />
          )}
          <Button asChild size="xs" variant="outline">
            <a download href={address(`scatters/${scatter.uid}/failures.jsonl`, { fingerprint: chosen })}>
              <Icon name="export" size={3} />
              Export as JSON Lines
            </a>
          </Button>
        </Flex>
      }
      id="failed-items"
      note={kind ? `${items(kind.count)} of this kind` : items(scatter.counts.failed)}
      title="Failed items"
    >
      <FailedFilters choose={choose} chosen={chosen} kinds={scatter.errors} search={typed} setSearch={setTyped} />
      <FailedTable
        dim={waiting}
        failures={data?.failures}
        open={setOpen}
        pick={setPicked}
        picked={picked}
        problem={problem}
      />
      {(after.length > 0 || next !== null) && (
        <Flex align="center" gap={2} justify="flex-end" mt={3}>
          <Text color="fg.muted" fontSize="sm" mr={2}>
            Page {after.length + 1}
          </Text>
          <Button disabled={after.length === 0} onClick={() => go(after.slice(0, -1))} size="xs" variant="outline">
            Previous
          </Button>
          <Button disabled={next === null || waiting} onClick={() => next !== null && go([...after, next])} size="xs" variant="outline">
            Next
          </Button>
        </Flex>
      )}
      <ItemDrawer close={() => setOpen(null)} pos={open} uid={scatter.uid} />
    </Panel>
  );
}
