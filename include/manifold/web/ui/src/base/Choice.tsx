import { NativeSelect } from "@chakra-ui/react";

interface Props {
  label: string;
  /** What it says while nothing is chosen. */
  all: string;
  options: [value: string, text: string][];
  value: string;
  onChange: (value: string) => void;
}

/** A drop-down list; the browser's own, so that it works everywhere. */
export function Choice({ label, all, options, value, onChange }: Props) {
  return (
    <NativeSelect.Root maxW="full" size="sm" w="auto">
      <NativeSelect.Field aria-label={label} onChange={(event) => onChange(event.target.value)} value={value}>
        <option value="">{all}</option>
        {options.map(([one, text]) => (
          <option key={one} value={one}>
            {text}
          </option>
        ))}
      </NativeSelect.Field>
      <NativeSelect.Indicator />
    </NativeSelect.Root>
  );
}
