// The API, beside Airflow's own: the browser's login cookie goes with each call.

export type Query = Record<string, string | number | null | undefined>;

/** Why an answer did not come. `status` is 0 where nobody answered at all. */
export class Problem extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

/** The address of something that the API serves; relative to Airflow's base URL, whatever path it is served under. */
export function address(path: string, query: Query = {}): string {
  const url = new URL(`manifold/api/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") {
      url.searchParams.set(name, String(value));
    }
  }
  return url.href;
}

/** The answer and its tag; null where it is still the one that `tag` names. */
export async function get<T>(url: string, tag: string | null, signal: AbortSignal): Promise<[T, string | null] | null> {
  const response = await sent(url, { headers: tag ? { "If-None-Match": tag } : {}, signal });
  return response.status === 304 ? null : [(await response.json()) as T, response.headers.get("ETag")];
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  const response = await sent(address(path), { body: JSON.stringify(body), headers, method: "POST" });
  return (await response.json()) as T;
}

/** Seconds since the epoch by the server's clock, which all times of the API are told by. */
export function serverTime(): number {
  return Date.now() / 1000 + offset;
}

let offset = 0;

async function sent(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, credentials: "same-origin" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, "No answer came from Airflow's API server.");
  }
  setClock(response.headers.get("Date"));
  if (response.ok || response.status === 304) return response;
  throw new Problem(response.status, await reason(response));
}

function setClock(date: string | null): void {
  const told = date ? Date.parse(date) / 1000 : NaN;
  // The header has whole seconds: a smaller difference says nothing.
  if (!Number.isNaN(told) && Math.abs(told + 0.5 - serverTime()) > 2) offset = told + 0.5 - Date.now() / 1000;
}

async function reason(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null);
  const detail = body && typeof body === "object" && "detail" in body ? body.detail : null;
  if (typeof detail === "string") return detail;
  // What FastAPI says of a body that it does not take: a list, an entry for each mistake.
  const mistakes = Array.isArray(detail) ? detail.map((one: { msg?: string }) => one.msg ?? "").join("; ") : "";
  return mistakes || `The API answered with status ${response.status}.`;
}
