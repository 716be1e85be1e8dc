/** The patterns of bars and cells, for the drawings: as `.mf-failed` and `.mf-running` have them. */
export function Patterns({ id }: { id: string }) {
  return (
    <defs>
      <pattern height={6} id={`${id}-failed`} patternTransform="rotate(45)" patternUnits="userSpaceOnUse" width={6}>
        <rect fill="var(--mf-failed)" height={6} width={6} />
        <rect fill="var(--mf-on)" height={6} width={2} />
      </pattern>
      <pattern height={7} id={`${id}-running`} patternUnits="userSpaceOnUse" width={7}>
        <rect fill="var(--mf-running)" height={7} width={7} />
        <rect fill="var(--mf-on)" height={7} width={2} />
      </pattern>
    </defs>
  );
}
