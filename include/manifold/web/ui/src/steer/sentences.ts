// What an action will do, before it is done; and what it did.

import { items } from "../base/format";
import { isLive } from "../scatter/state";
import type { Asked, Counts, Redriven, ScatterDetail, Task, Verb } from "../types";

export const cancels = ({ counts, task }: ScatterDetail): string[] => [
  `Chunks that run now are given up. What is committed stays: ${items(counts.succeeded)} succeeded.`,
  task
    ? "The task instance fails. This cannot be undone; what is missing can only be run by another try of the task."
    : "This cannot be undone; what is missing can only be run by another try.",
];

export const drains = (): string[] => [
  "No further chunk is sent. Chunks that run now end and are committed, then the coordinator stops.",
  "The task then waits without a slot, shown by Airflow as up for reschedule, until somebody presses Resume: no try is used, and nothing fails.",
];

/** What "Continue" does. */
export function continues({ counts, task }: ScatterDetail): string[] {
  const never = counts.total === null ? "all items that never ran" : `${items(withoutOutcome(counts))} that never ran`;
  const failed = counts.failed > 0 ? `, and ${items(counts.failed)} that failed` : "";
  return [
    `${cleared(task)}its next try runs ${never}${failed}.`,
    `${items(counts.succeeded)} that succeeded will not run again. Tasks downstream of it are cleared, too, and run after it.`,
  ];
}

/** What "Run everything again" does. */
export function restarts({ counts, task }: ScatterDetail): string[] {
  const all = counts.total === null ? "all items" : `all ${items(counts.total)}`;
  return [
    `${cleared(task)}its next try runs ${all} from scratch, as a new scatter.`,
    `What is recorded here is replaced: ${items(counts.succeeded)} that succeeded run again, and their side effects happen again.`,
    "Tasks downstream of it are cleared, too, and run after it.",
  ];
}

export const withoutOutcome = ({ total, succeeded, failed, skipped }: Counts): number =>
  total === null ? 0 : Math.max(0, total - succeeded - failed - skipped);

const cleared = (task: Task | null): string =>
  task ? `Airflow clears the task ${task.task_id} of the run ${task.run_id}, which then runs again: ` : "";

/** Why failed items cannot be run again now; null where they can. */
export function hindrance({ task, state, uid }: ScatterDetail): string | null {
  if (!task) return `To retry failed items, run manifold redrive ${uid} where it ran`;
  return isLive(state) ? "Failed items can be retried as soon as this try has ended" : null;
}

/** Which items, of which task, and what else happens. */
export function redrives(scatter: ScatterDetail, number: number): string[] {
  const { task, counts } = scatter;
  const rest = counts.failed - number;
  const never = withoutOutcome(counts);
  return [
    `${cleared(task)}its next try takes only ${number === 1 ? "this item" : `these ${items(number)}`} out of the quarantine.`,
    `${items(counts.succeeded)} that succeeded will not run again.${rest > 0 ? ` ${items(rest)} stay failed.` : ""}${never > 0 ? ` ${items(never)} that never ran are left alone: Continue runs them.` : ""}`,
    "Tasks downstream of it are cleared, too, and run after it. If a failed item had side effects before it failed, they happen again.",
  ];
}

export function redriven({ items: number, cleared }: Redriven): string {
  return `${number === null ? "All of them" : items(number)} will run again. Cleared in Airflow: ${cleared.join(", ")}. It begins as soon as Airflow has a slot.`;
}

const DONE: Record<Verb, string> = {
  cancel: "Cancelling",
  drain: "Draining",
  pause: "Pausing",
  resume: "Resuming",
  set: "The new settings are noted",
};

export const asked = ({ verb, coordinator, text }: Asked): string =>
  coordinator ? `${DONE[verb]}: it takes effect within two seconds.` : `${text}.`;
