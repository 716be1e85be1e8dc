import type { Problem } from "./api";
import { clock } from "./times";
import { LoginButton } from "./LoginButton";
import { Notice } from "./Notice";

/** Says that the figures are old, and why; the figures stay. */
export function Stale({ problem, at }: { problem: Problem | undefined; at: number }) {
  if (!problem) return null;
  const out = problem.status === 401;
  return (
    <Notice action={out && <LoginButton />} kind="warning" urgent>
      {out ? "Your login has ended." : problem.message} The figures are those of {clock(at)}
      {out ? "." : "; this page asks again by itself."}
    </Notice>
  );
}
