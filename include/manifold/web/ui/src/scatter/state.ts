import type { Scatter } from "../types";

/** Whether nothing more comes by itself. */
export const hasEnded = (scatter: Scatter): boolean => scatter.ended_at !== null;
