// Figures as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });

/** 1,234,567 */
export const count = (n: number): string => WHOLE.format(n);

/** 1.23M */
export const short = (n: number): string => SHORT.format(n);

/** "1 item", "1,308 items" */
export const items = (n: number): string => plural(n, "item");

export const plural = (n: number, word: string): string => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/** 62.4%; rounded down, since what is nearly done is not done. */
export function percent(part: number, whole: number): string {
  if (whole <= 0) return "100%";
  const tenths = Math.floor((1000 * part) / whole);
  if (tenths === 0 && part > 0) return "<0.1%";
  return tenths % 10 ? `${(tenths / 10).toFixed(1)}%` : `${tenths / 10}%`;
}

/** 8,412/s, 12.3/s, 3.1/min, 0/s */
export function rate(perSecond: number): string {
  if (perSecond >= 100) return `${count(perSecond)}/s`;
  if (perSecond === 0) return "0/s";
  if (perSecond >= 0.1) return `${Number(perSecond.toPrecision(perSecond >= 10 ? 3 : 2))}/s`;
  return `${Number((perSecond * 60).toPrecision(2))}/min`;
}

/** 1.2 s, 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** An estimate: about 3 min 20 s. "–" where there is none. */
export const about = (seconds: number | null): string => (seconds === null ? "–" : `about ${duration(seconds)}`);

/** The time of one item: 0.8 ms, 12 ms, 1.25 s, 3 min 20 s */
export function itemTime(seconds: number): string {
  if (seconds >= 10) return duration(seconds);
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  const ms = seconds * 1000;
  if (ms < 0.001) return "<1 µs";
  return ms < 1 ? `${Number((ms * 1000).toPrecision(2))} µs` : `${Number(ms.toPrecision(2))} ms`;
}

/** just now, 12 s ago, 3 min ago, 2 h ago, 3 d ago */
export function ago(seconds: number): string {
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** item 12, items 12 to 40 */
export function span(start: number, stop: number): string {
  return stop - start === 1 ? `item ${count(start)}` : `items ${count(start)} to ${count(stop - 1)}`;
}
