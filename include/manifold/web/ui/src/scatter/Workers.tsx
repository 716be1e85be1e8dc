import { Table, Text } from "@chakra-ui/react";

import { plural } from "../base/format";
import { Panel } from "../base/Panel";
import type { ScatterDetail } from "../types";
import { hasEnded, isLive } from "./state";
import { WorkerRow } from "./WorkerRow";

/** Who works, or worked; a dead worker is grey. */
export function Workers({ scatter }: { scatter: ScatterDetail }) {
  const { workers } = scatter;
  const ended = hasEnded(scatter);
  const alive = workers.filter((worker) => worker.alive).length;
  const dead = workers.length - alive;
  // Workers report to the coordinator: without one, nothing is known of them since it reported last.
  const known = `${plural(workers.length, "worker")} when the coordinator reported last; what they do since is not known`;
  const living = `${alive} alive${dead ? `, ${dead} gone` : ""}`;
  const note = ended ? plural(workers.length, "worker") : isLive(scatter.state) ? living : known;
  return (
    <Panel id="workers" note={note} title="Workers">
      {workers.length === 0 ? (
        <Text color="fg.muted" fontSize="sm">
          {!isLive(scatter.state) ? "No worker was recorded; how its tries ended says why." : "No worker has reported yet. If that lasts, no worker serves the engine's queue."}
        </Text>
      ) : (
        <Table.ScrollArea aria-label="Table of workers" maxH="420px" role="region" tabIndex={0}>
          <Table.Root size="sm" stickyHeader>
            <Table.Header>
              <Table.Row>
                <Table.ColumnHeader>Worker</Table.ColumnHeader>
                <Table.ColumnHeader>Host</Table.ColumnHeader>
                <Table.ColumnHeader textAlign="end">Process</Table.ColumnHeader>
                <Table.ColumnHeader>Last reported</Table.ColumnHeader>
                <Table.ColumnHeader>Busy with</Table.ColumnHeader>
                <Table.ColumnHeader textAlign="end">Items</Table.ColumnHeader>
                <Table.ColumnHeader textAlign="end">Chunks</Table.ColumnHeader>
                <Table.ColumnHeader textAlign="end">Rate</Table.ColumnHeader>
              </Table.Row>
            </Table.Header>
            <Table.Body>
              {workers.map((worker) => (
                <WorkerRow ended={ended} key={worker.name} worker={worker} />
              ))}
            </Table.Body>
          </Table.Root>
        </Table.ScrollArea>
      )}
    </Panel>
  );
}
