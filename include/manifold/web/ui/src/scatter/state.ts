import type { Scatter, ScatterDetail, State } from "../types";

/** Whether nothing more comes by itself. */
export const hasEnded = (scatter: Scatter): boolean => scatter.ended_at !== null;

/** Seconds that somebody worked on it: what its tries took together, without the time between them. */
export function ranFor({ state, duration, history }: ScatterDetail, now: number): number {
  const [latest] = history;
  const since = isLive(state) && latest ? Math.max(0, now - latest.began_at) : null;
  if (since === null) return duration;
  return history.slice(1).reduce((sum, one) => sum + Math.max(0, (one.ended_at ?? one.began_at) - one.began_at), since);
}

/** Whether somebody should look at what failed before all else: it does not go well, or more failed than may. */
export function isWrong({ state, counts, settings }: ScatterDetail): boolean {
  if (counts.failed === 0 || state === "succeeded") return false;
  return state === "failed" || state === "stopped" || counts.failed > tolerated(settings.tolerate, counts.total);
}

function tolerated(text: string, total: number | null): number {
  if (!text.endsWith("%")) return Number(text);
  return total === null ? Infinity : (parseFloat(text) / 100) * total;
}

/** Whether a coordinator works on it. */
export const isLive = (state: State): boolean => state === "running" || state === "paused" || state === "draining";
