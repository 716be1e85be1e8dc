import { Checkbox } from "@chakra-ui/react";

/** A box to tick, whose name only a screen reader says. */
export function Tick({ label, on, set }: { label: string; on: boolean; set: (on: boolean) => void }) {
  return (
    <Checkbox.Root checked={on} onCheckedChange={({ checked }) => set(checked === true)} size="sm">
      <Checkbox.HiddenInput aria-label={label} />
      <Checkbox.Control />
    </Checkbox.Root>
  );
}
