import { useCallback, useEffect, useRef, useState } from "react";

import { get, Problem, serverTime } from "./api";
import { EVERY, poll } from "./poll";

export interface Polled<T> {
  /** The newest answer; that of the former address while a new one is awaited, so that nothing flickers. */
  data: T | undefined;
  /** Why the latest question got no answer. */
  problem: Problem | undefined;
  /** When `data` was last known to be right. */
  at: number;
  /** Whether `data` is not (yet) of this address. */
  waiting: boolean;
  refresh: () => void;
}

interface Known<T> {
  url: string | null;
  data?: T;
  problem?: Problem | undefined;
  at: number;
}

const HOPELESS = [401, 403, 404];

/** What the API says at `url`, asked again every so many milliseconds; `url` null asks nothing. */
export function usePolled<T>(url: string | null, every: number | null = EVERY): Polled<T> {
  const [known, setKnown] = useState<Known<T>>({ at: 0, url: null });
  const [turn, setTurn] = useState(0);
  const tag = useRef<{ url: string; etag: string | null } | null>(null);

  useEffect(() => {
    if (url === null) return undefined;
    const abort = new AbortController();

    async function ask(of: string): Promise<boolean> {
      try {
        const etag = tag.current?.url === of ? tag.current.etag : null;
        const answer = await get<T>(of, etag, abort.signal);
        if (answer) {
          tag.current = { etag: answer[1], url: of };
          setKnown({ at: serverTime(), data: answer[0], url: of });
        } else {
          // The same figures, seen again: nothing to draw, unless something was wrong.
          setKnown((was) => (was.problem ? { ...was, at: serverTime(), problem: undefined } : was));
        }
        return true;
      } catch (error) {
        if (abort.signal.aborted) return true;
        const problem = error instanceof Problem ? error : new Problem(0, String(error));
        setKnown((was) => ({ ...was, problem }));
        if (HOPELESS.includes(problem.status)) abort.abort();
        return false;
      }
    }

    poll(() => ask(url), every, abort.signal);
    return () => abort.abort();
  }, [url, every, turn]);

  const refresh = useCallback(() => setTurn((was) => was + 1), []);
  const waiting = url !== null && known.url !== url && !known.problem;
  return { at: known.at, data: known.data, problem: known.problem, refresh, waiting };
}
