import { Button, Dialog, Portal, Stack, Text } from "@chakra-ui/react";
import { useState, type FormEvent } from "react";

import { DialogFoot } from "./DialogFoot";
import { SettingField } from "./SettingField";
import { changes, type Draft, draftOf, mistakes } from "./settings";
import { useSteering } from "./Steering";

/** Concurrency, rate and tolerance: what may be changed while it runs. Sends only what was changed. */
export function SettingsForm({ close }: { close: () => void }) {
  const { scatter, busy, said, control } = useSteering();
  // As they were when the form was opened: the page goes on asking beneath it.
  const [before] = useState(() => draftOf(scatter.settings));
  const [draft, setDraft] = useState<Draft>(before);
  const [failed, setFailed] = useState(false);
  const wrong = mistakes(draft);
  const value = changes(before, draft);
  const ready = Object.keys(value).length > 0 && Object.keys(wrong).length === 0;

  async function send(event: FormEvent): Promise<void> {
    event.preventDefault();
    if (!ready) return;
    const well = await control({ value, verb: "set" });
    setFailed(!well);
    if (well) close();
  }

  const field = (name: keyof Draft) => ({
    mistake: wrong[name],
    onChange: (text: string) => setDraft((was) => ({ ...was, [name]: text })),
    value: draft[name],
  });
  return (
    <Dialog.Root onOpenChange={(change) => !change.open && close()} open placement="center" size="sm">
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content as="form" mx={4} onSubmit={(event) => void send(event)}>
            <Dialog.Header>
              <Dialog.Title>Change settings</Dialog.Title>
            </Dialog.Header>
            <Dialog.Body>
              <Stack gap={4}>
                <SettingField help="Chunks that may run at once. Empty: as many as the engine has slots." label="Concurrency" {...field("max_concurrency")} />
                <SettingField help="Executions of items per second, retries included. Empty: no limit." label="Rate limit" {...field("rate_limit")} />
                <SettingField help="How many items may fail: a count such as 5, or a percentage such as 1%." label="Tolerated failures" {...field("tolerate")} />
                <Text color={failed ? "var(--mf-alarm)" : "fg.muted"} fontSize="xs" role={failed ? "alert" : undefined}>
                  {failed && said?.bad ? said.text : "They take effect within seconds, and stay for later tries."}
                </Text>
              </Stack>
            </Dialog.Body>
            <DialogFoot back={close}>
              <Button disabled={!ready} loading={busy} size="sm" type="submit">
                Change
              </Button>
            </DialogFoot>
          </Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}
