import { useSyncExternalStore } from "react";

import { serverTime } from "./api";

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => listeners.forEach((one) => one()), 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The present second by the server's clock; one timer serves the whole page. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => Math.floor(serverTime()));
}
