// Asking again and again: while somebody looks, and slower while nobody answers.

export const EVERY = 2_000;
const SLOWEST = 30_000;

/**
 * Call `ask` now and then every so many milliseconds after its end, until `signal` is aborted.
 * A hidden tab asks nothing; it asks at once when it is seen again. `every` null: only once, and at each return to the tab.
 * `ask` tells whether it went well.
 */
export function poll(ask: () => Promise<boolean>, every: number | null, signal: AbortSignal): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking = false;
  let wait = every ?? 0;

  async function round(): Promise<void> {
    clearTimeout(timer);
    if (asking || document.hidden || signal.aborted) return;
    asking = true;
    const well = await ask();
    asking = false;
    if (signal.aborted) return;
    wait = well ? (every ?? 0) : Math.min(Math.max(wait, EVERY) * 1.5, SLOWEST);
    if (!well || every !== null) timer = setTimeout(() => void round(), wait);
  }

  document.addEventListener("visibilitychange", () => void round(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  void round();
}
