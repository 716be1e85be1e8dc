// Where a column is shown: the narrower the page, the fewer there are. A narrow row says it all in its first cell.
export const NARROW = { base: "flex", md: "none" } as const;
export const MIDDLE = { base: "none", md: "table-cell" } as const;
export const WIDE = { base: "none", lg: "table-cell" } as const;
export const WIDEST = { base: "none", xl: "table-cell" } as const;
