import type { Scatter, State } from "../types";

/** Whether nothing more comes by itself. */
export const hasEnded = (scatter: Scatter): boolean => scatter.ended_at !== null;

/** Whether a coordinator works on it. */
export const isLive = (state: State): boolean => state === "running" || state === "paused" || state === "draining";
