// The settings' form: text as it is typed, and what it means.

import type { Settings } from "../types";

export type Draft = Record<keyof Settings, string>;

export const draftOf = (settings: Settings): Draft => ({
  max_concurrency: settings.max_concurrency?.toString() ?? "",
  rate_limit: settings.rate_limit?.toString() ?? "",
  tolerate: settings.tolerate,
});

/** What is wrong with each field; the server looks once more. */
export function mistakes(draft: Draft): Partial<Draft> {
  const found: Partial<Draft> = {};
  if (!/^([1-9]\d*)?$/.test(draft.max_concurrency.trim())) found.max_concurrency = "A whole number from 1 on, or nothing.";
  if (draft.rate_limit.trim() !== "" && !(Number(draft.rate_limit) > 0)) found.rate_limit = "A number above 0, or nothing.";
  const share = /^(\d+(?:\.\d+)?)\s*%$/.exec(draft.tolerate.trim());
  if (share ? Number(share[1]) > 100 : !/^\d+$/.test(draft.tolerate.trim())) {
    found.tolerate = "A count such as 5, or a percentage from 0 to 100 such as 1%.";
  }
  return found;
}

/** The values that differ, as the API takes them. */
export function changes(before: Draft, after: Draft): Record<string, unknown> {
  const names = (Object.keys(after) as (keyof Settings)[]).filter((name) => after[name].trim() !== before[name].trim());
  return Object.fromEntries(names.map((name) => [name, parsed(name, after[name].trim())]));
}

function parsed(name: keyof Settings, text: string): unknown {
  if (name === "tolerate") return text.endsWith("%") ? text : Number(text);
  return text === "" ? null : Number(text);
}
