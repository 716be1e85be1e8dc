import { Stack } from "@chakra-ui/react";

import { items, plural, span } from "../base/format";
import { Notice } from "../base/Notice";
import { When } from "../base/When";
import type { ScatterDetail, Wish } from "../types";

/** What a person should know before all figures: each only while it is so. */
export function Messages({ scatter }: { scatter: ScatterDetail }) {
  const { paused_by, state, message, suspects, suspects_total, wishes } = scatter;
  const [suspect] = suspects;
  return (
    <Stack _empty={{ display: "none" }} gap={2}>
      {state === "paused" && <Notice kind="warning">Paused by {paused_by}. No further chunk is sent until somebody resumes it.</Notice>}
      {state === "stopped" && (
        <Notice kind="warning">
          Nobody coordinates this scatter at the moment. Airflow notices a lost task after its heartbeat timeout; the next
          try continues with what is missing. If no retry is left, clear the task instance.
        </Notice>
      )}
      {message && <Notice kind={state === "failed" ? "bad" : "warning"}>{message}</Notice>}
      {suspect && (
        <Notice kind="bad">
          The results of {plural(suspects_total, "chunk")} could not be read, first those of {span(suspect.start, suspect.stop)}.
          Clear the task instance: its next try makes them anew.
        </Notice>
      )}
      {wishes.map((wish) => (
        <Notice key={wish.no} kind="news">
          {asked(wish)}, asked for by {wish.by_whom} <When at={wish.at} />, has not taken effect yet.
        </Notice>
      ))}
    </Stack>
  );
}

function asked({ verb, value }: Wish): string {
  if (verb === "set") return `Setting ${Object.entries(value).map(([name, to]) => `${name} to ${to ?? "no limit"}`).join(" and ")}`;
  if (verb === "redrive") return Array.isArray(value.positions) ? `A retry of ${items(value.positions.length)}` : "A retry of failed items";
  return verb.charAt(0).toUpperCase() + verb.slice(1);
}
