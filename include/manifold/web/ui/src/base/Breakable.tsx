import { Fragment } from "react";

/** A URL or a name that may go on in the next line after a separator, not in the middle of a word. */
export function Breakable({ text }: { text: string }) {
  const parts = text.split(/(?<=[/@,;&?=+.:_-])(?=[^/])/);
  return (
    <>
      {parts.map((part, place) => (
        <Fragment key={place}>
          {place > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </>
  );
}
