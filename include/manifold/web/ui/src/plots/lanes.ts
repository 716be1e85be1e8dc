import type { Bar } from "../types";

export interface Row {
  worker: string;
  bars: { bar: Bar; index: number; lane: number }[];
  lanes: number;
  /** How many bars it has, where no worker is known; else 0. */
  waiting: number;
}

const NOBODY = "not known yet";
/** Lanes of the chunks whose worker is not known: hundreds may wait, and say no more than some of them. */
const WAITING_LANES = 4;

/** The bars by worker; a worker that held several chunks at once has as many lanes. */
export function rowsOf(bars: Bar[], now: number): Row[] {
  const rows = new Map<string, Row>();
  const free = new Map<string, number[]>();
  bars.forEach((bar, index) => {
    const worker = bar.worker ?? NOBODY;
    const row = rows.get(worker) ?? { bars: [], lanes: 0, waiting: 0, worker };
    const ends = free.get(worker) ?? [];
    const found = ends.findIndex((end) => end <= bar.began_at + 1e-6);
    const fresh = found < 0 ? ends.length : found;
    const lane = bar.worker === null && fresh >= WAITING_LANES ? index % WAITING_LANES : fresh;
    ends[lane] = bar.ended_at ?? now;
    row.bars.push({ bar, index, lane });
    row.lanes = ends.length;
    row.waiting += Number(bar.worker === null);
    rows.set(worker, row);
    free.set(worker, ends);
  });
  return [...rows.values()].sort((a, b) => Number(a.worker === NOBODY) - Number(b.worker === NOBODY) || a.worker.localeCompare(b.worker));
}
