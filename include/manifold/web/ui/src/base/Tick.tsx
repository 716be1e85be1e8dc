import { Checkbox } from "@chakra-ui/react";

interface Props {
  label: string;
  /** Whether the name stands beside the box; else only a screen reader says it. */
  shown?: boolean;
  on: boolean;
  set: (on: boolean) => void;
}

/** A box to tick. */
export function Tick({ label, shown = false, on, set }: Props) {
  return (
    <Checkbox.Root checked={on} onCheckedChange={({ checked }) => set(checked === true)} size="sm">
      <Checkbox.HiddenInput aria-label={label} />
      <Checkbox.Control />
      {shown && <Checkbox.Label>{label}</Checkbox.Label>}
    </Checkbox.Root>
  );
}
