import { Stack } from "@chakra-ui/react";

import { items, plural, span } from "../base/format";
import { Notice } from "../base/Notice";
import { When } from "../base/When";
import type { ControlRequest, ScatterDetail, Try } from "../types";

/** What a person should know before all figures: each only while it is so. */
export function Messages({ scatter }: { scatter: ScatterDetail }) {
  const { paused_by, state, message, run_deleted, suspects, suspects_total, control_requests, history } = scatter;
  const [last] = history;
  const [suspect] = suspects;
  return (
    <Stack _empty={{ display: "none" }} gap={2}>
      {run_deleted && (
        <Notice kind="warning">
          {sentence(message)} Nothing there can run it again, and its results stay until manifold gc collects them.
        </Notice>
      )}
      {state === "paused" && <Notice kind="warning">Paused by {paused_by}. No further chunk is sent until somebody resumes it.</Notice>}
      {state === "draining" && <Notice kind="warning">Draining: what runs ends and is committed, and nothing more is sent.</Notice>}
      {state === "drained" && !run_deleted && (
        <Notice kind="warning">{sentence(message)} It waits, without a slot of Airflow's, until somebody presses Resume.</Notice>
      )}
      {state === "stopped" && !run_deleted && (
        <Notice kind="warning">
          Stopped{last?.ended_at != null && <> <When at={last.ended_at} /></>}: {message ?? "its coordinator is gone"}. {next(last)}
        </Notice>
      )}
      {message && !run_deleted && state !== "drained" && state !== "stopped" && (
        <Notice kind={state === "failed" ? "bad" : "warning"}>{message}</Notice>
      )}
      {suspect && (
        <Notice kind="bad">
          The results of {plural(suspects_total, "chunk")} could not be read, first those of {span(suspect.start, suspect.stop)}.
          Clear the task instance: its next try makes them anew.
        </Notice>
      )}
      {control_requests.map((request) => (
        <Notice key={request.no} kind="news">
          {asked(request)}, asked for by {request.by_whom} <When at={request.at} />, has not taken effect yet.
        </Notice>
      ))}
    </Stack>
  );
}

const sentence = (text: string | null): string => (text ? `${text.charAt(0).toUpperCase()}${text.slice(1)}.` : "");

/** What comes after a try that stopped. */
function next(last: Try | undefined): string {
  if (last?.number != null && last.numbers != null && last.number >= last.numbers) {
    return `It was try ${last.number} of ${last.numbers}, so none follows by itself: Continue clears the task.`;
  }
  return "The next try continues with what is missing.";
}

function asked({ verb, value }: ControlRequest): string {
  if (verb === "set") return `Setting ${Object.entries(value).map(([name, to]) => `${name} to ${to ?? "no limit"}`).join(" and ")}`;
  if (verb === "redrive") return Array.isArray(value.positions) ? `A retry of ${items(value.positions.length)}` : "A retry of failed items";
  return verb.charAt(0).toUpperCase() + verb.slice(1);
}
