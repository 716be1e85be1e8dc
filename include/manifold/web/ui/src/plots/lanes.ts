import type { Bar } from "../types";

export interface Row {
  worker: string;
  bars: { bar: Bar; index: number; lane: number }[];
  lanes: number;
}

const NOBODY = "not known yet";

/** The bars by worker; a worker that held several chunks at once has as many lanes. */
export function rowsOf(bars: Bar[], now: number): Row[] {
  const rows = new Map<string, Row>();
  const free = new Map<string, number[]>();
  bars.forEach((bar, index) => {
    const worker = bar.worker ?? NOBODY;
    const row = rows.get(worker) ?? { bars: [], lanes: 0, worker };
    const ends = free.get(worker) ?? [];
    const found = ends.findIndex((end) => end <= bar.began_at + 1e-6);
    const lane = found < 0 ? ends.length : found;
    ends[lane] = bar.ended_at ?? now;
    row.bars.push({ bar, index, lane });
    row.lanes = ends.length;
    rows.set(worker, row);
    free.set(worker, ends);
  });
  return [...rows.values()].sort((a, b) => Number(a.worker === NOBODY) - Number(b.worker === NOBODY) || a.worker.localeCompare(b.worker));
}
