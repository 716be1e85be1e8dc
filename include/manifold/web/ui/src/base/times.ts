// Points in time, in the time zone that the reader chose in Airflow's page.

type Shape = "absolute" | "clock";

const SHAPES: Record<Shape, Intl.DateTimeFormatOptions> = {
  absolute: { dateStyle: "medium", timeStyle: "long" },
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};
const made = new Map<string, Intl.DateTimeFormat>();

/** 25 Nov 2026, 03:12:44 CET */
export const absolute = (at: number): string => formatter("absolute").format(at * 1000);

/** 03:12:44 */
export const clock = (at: number): string => formatter("clock").format(at * 1000);

function formatter(shape: Shape): Intl.DateTimeFormat {
  const chosen = localStorage.getItem("timezone") ?? "";
  const key = `${shape} ${chosen}`;
  const known = made.get(key) ?? new Intl.DateTimeFormat("en-GB", { ...SHAPES[shape], ...zone(chosen) });
  made.set(key, known);
  return known;
}

/** Airflow keeps the zone as JSON; "local" and whatever is not a zone are the browser's own. */
function zone(chosen: string): Intl.DateTimeFormatOptions {
  try {
    const timeZone = JSON.parse(chosen) as string;
    return { timeZone: new Intl.DateTimeFormat("en", { timeZone }).resolvedOptions().timeZone };
  } catch {
    return {};
  }
}
