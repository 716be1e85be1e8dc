// What becomes of items, in the order in which a bar shows it. The colours differ in lightness as well, after Okabe and
// Ito's palette for all kinds of colour vision; failed, skipped and running have a pattern on top.

export const OUTCOMES = ["succeeded", "failed", "skipped", "running", "pending"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export const LABEL: Record<Outcome, string> = {
  failed: "Failed",
  pending: "Pending",
  running: "Running",
  skipped: "Skipped",
  succeeded: "Succeeded",
};

export const STYLES = `
:root {
  --mf-succeeded: #0b8a66; --mf-failed: #c8450c; --mf-skipped: #b565a7; --mf-running: #2f8fd8; --mf-pending: #d9dee6;
  --mf-on: rgba(255, 255, 255, 0.55); --mf-grid: #e3e7ed; --mf-line: #8a94a6; --mf-mark: #1b2432; --mf-alarm: #a8330a;
}
.dark {
  --mf-succeeded: #1fae83; --mf-failed: #f0733a; --mf-skipped: #cf8cc3; --mf-running: #5ab0ee; --mf-pending: #36404f;
  --mf-on: rgba(8, 14, 24, 0.5); --mf-grid: #2a3341; --mf-line: #7c8798; --mf-mark: #f2f5f9; --mf-alarm: #ff9a6e;
}
.mf-succeeded { background: var(--mf-succeeded); }
.mf-failed { background: repeating-linear-gradient(45deg, var(--mf-failed) 0 4px, var(--mf-on) 4px 6px), var(--mf-failed); }
.mf-skipped { background: radial-gradient(var(--mf-on) 1.2px, transparent 1.4px) 0 0 / 5px 5px, var(--mf-skipped); }
.mf-running { background: repeating-linear-gradient(90deg, var(--mf-running) 0 5px, var(--mf-on) 5px 7px), var(--mf-running); }
.mf-pending { background: var(--mf-pending); }
.mf-unknown { background: repeating-linear-gradient(90deg, var(--mf-pending) 0 6px, transparent 6px 12px); }
.manifold :is(span, a, b, code, strong, em, text, button) { unicode-bidi: isolate; }
.mf-grow { transition: width 0.6s ease-out; }
@media (prefers-reduced-motion: reduce) { .mf-unknown { background: repeating-linear-gradient(90deg, var(--mf-pending) 0 6px, transparent 6px 12px); }
.mf-grow { transition: none; } }
@media (forced-colors: active) { [class^="mf-"] { forced-color-adjust: none; } }
`;
