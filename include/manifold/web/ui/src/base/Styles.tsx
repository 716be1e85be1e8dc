import { STYLES } from "./outcomes";

/** Our colours and patterns: React puts them into the document's head, once. */
export function Styles() {
  return (
    <style href="manifold" precedence="default">
      {STYLES}
    </style>
  );
}
