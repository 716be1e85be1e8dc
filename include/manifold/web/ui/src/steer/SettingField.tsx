import { Field, Input } from "@chakra-ui/react";

interface Props {
  label: string;
  help: string;
  value: string;
  mistake: string | undefined;
  onChange: (value: string) => void;
}

export function SettingField({ label, help, value, mistake, onChange }: Props) {
  return (
    <Field.Root invalid={mistake !== undefined}>
      <Field.Label>{label}</Field.Label>
      <Input autoComplete="off" onChange={(event) => onChange(event.target.value)} size="sm" value={value} />
      <Field.HelperText>{help}</Field.HelperText>
      <Field.ErrorText>{mistake}</Field.ErrorText>
    </Field.Root>
  );
}
