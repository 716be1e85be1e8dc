// What the API answers. `manifold/web/models.py` says what each field means; a test compares the two.

export type State = "running" | "paused" | "draining" | "drained" | "stopped" | "succeeded" | "failed" | "cancelled";
export type Verb = "pause" | "resume" | "drain" | "cancel" | "set";
export type Why = "first" | "lost" | "half" | "speculative" | "redrive";

export interface Task {
  dag_id: string;
  run_id: string;
  task_id: string;
  map_index: number;
}

export interface Counts {
  succeeded: number;
  failed: number;
  skipped: number;
  running: number;
  pending: number | null;
  total: number | null;
  total_is_estimate: boolean;
}

export interface Scatter {
  uid: string;
  name: string;
  task: Task | null;
  function: string;
  engine: string;
  state: State;
  counts: Counts;
  rate: number | null;
  seconds_left: number | null;
  created_at: number;
  ended_at: number | null;
  duration: number;
  message: string | null;
  url: string | null;
  run_deleted: boolean;
}

export interface Scatters {
  scatters: Scatter[];
  total: number;
}

export interface ItemSeconds {
  p50: number;
  p90: number;
  p99: number;
}

export interface Settings {
  max_concurrency: number | null;
  rate_limit: number | null;
  tolerate: string;
}

export interface ControlRequest {
  no: number;
  verb: Verb | "redrive";
  value: Record<string, unknown>;
  by_whom: string;
  at: number;
}

export interface Chunks {
  committed: number;
  in_flight: number;
  lost: number;
  speculative: number;
}

export interface Span {
  start: number;
  stop: number;
}

export interface May {
  steer: boolean;
}

export interface Kind {
  fingerprint: string;
  type: string;
  message: string;
  count: number;
}

export interface Worker {
  name: string;
  host: string;
  pid: number;
  engine: string;
  alive: boolean;
  seconds_silent: number;
  busy: number;
  items: number;
  chunks: number;
  rate: number | null;
}

export interface Try {
  number: number | null;
  numbers: number | null;
  owner: string;
  mode: string;
  why: string;
  began_at: number;
  ended_at: number | null;
  ending: string | null;
  message: string | null;
  items: number;
  chunks: number;
}

export interface ScatterDetail extends Scatter {
  item_seconds: ItemSeconds | null;
  tries: number;
  history: Try[];
  coordinator: string | null;
  paused_by: string | null;
  policy: Record<string, unknown>;
  settings: Settings;
  control_requests: ControlRequest[];
  wishes: ControlRequest[];
  chunks: Chunks;
  suspects: Span[];
  suspects_total: number;
  errors: Kind[];
  workers: Worker[];
  may: May;
}

export interface RatePoint {
  at: number;
  seconds: number;
  items: number;
  failed: number;
}

export interface Rate {
  points: RatePoint[];
}

export interface Cell {
  start: number;
  stop: number;
  succeeded: number;
  failed: number;
  skipped: number;
  running: number;
  pending: number;
}

export interface Map {
  cells: Cell[];
  total: number;
}

export interface Bar {
  worker: string | null;
  start: number;
  stop: number;
  began_at: number;
  ended_at: number | null;
  state: "committed" | "running" | "lost" | "superseded";
  why: Why;
  failed: number;
}

export interface Timeline {
  bars: Bar[];
  more: boolean;
}

export interface Failure {
  pos: number;
  key: string | null;
  fingerprint: string;
  type: string;
  message: string;
  attempts: number;
  worker: string;
  item_repr: string | null;
}

export interface KindDetail extends Kind {
  traceback: string;
  samples: Failure[];
}

export interface Errors {
  kinds: KindDetail[];
  more: boolean;
}

export interface Failures {
  failures: Failure[];
  next: number | null;
}

export interface Line {
  level: string;
  text: string;
}

export interface FailureDetail extends Failure {
  traceback: string;
  lines: Line[];
  note: string | null;
  amiss: boolean;
}

export interface Control {
  verb: Verb;
  value: Record<string, unknown>;
}

export interface Asked {
  verb: Verb;
  coordinator: string | null;
  done: boolean;
  text: string;
}

export interface Redrive {
  fingerprint?: string;
  positions?: number[];
  missing?: true;
  everything?: true;
}

export interface Redriven {
  items: number | null;
  cleared: string[];
}
