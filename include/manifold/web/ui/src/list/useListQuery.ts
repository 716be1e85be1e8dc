import { useCallback } from "react";
import { useSearchParams } from "react-router-dom";

export const PAGE = 25;

export interface ListQuery {
  state: string;
  search: string;
  engine: string;
  sort: string;
  /** "true": those of the deployment itself, too. */
  system: string;
  offset: number;
}

/** What the list is asked for: it stands in the page's address, so that it can be shared and gone back to. */
export function useListQuery(): [ListQuery, (change: Partial<ListQuery>) => void] {
  const [params, setParams] = useSearchParams();
  const change = useCallback(
    (changes: Partial<ListQuery>) =>
      setParams(
        (old) => {
          const fresh = new URLSearchParams(old);
          // Another choice begins on its first page.
          for (const [name, value] of Object.entries({ offset: 0, ...changes })) {
            if (value) fresh.set(name, String(value));
            else fresh.delete(name);
          }
          return fresh;
        },
        { replace: true },
      ),
    [setParams],
  );
  const text = (name: string): string => params.get(name) ?? "";
  const query = {
    engine: text("engine"),
    offset: Number(text("offset")) || 0,
    search: text("search"),
    sort: text("sort") || "-created",
    state: text("state"),
    system: text("system") === "true" ? "true" : "",
  };
  return [query, change];
}
