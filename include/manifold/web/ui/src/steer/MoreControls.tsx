import { IconButton, Menu, Portal } from "@chakra-ui/react";
import { useState } from "react";

import { Icon } from "../base/Icon";
import { Confirm } from "./Confirm";
import { cancels, drains } from "./sentences";
import { SettingsForm } from "./SettingsForm";
import { useSteering } from "./Steering";

type Open = "settings" | "drain" | "cancel" | null;

/** What is done less often: settings, drain, cancel. */
export function MoreControls() {
  const { scatter, busy, control } = useSteering();
  const [open, setOpen] = useState<Open>(null);
  const close = (): void => setOpen(null);
  return (
    <>
      <Menu.Root onSelect={({ value }) => setOpen(value as Open)} positioning={{ placement: "bottom-end" }}>
        <Menu.Trigger asChild>
          <IconButton aria-label="More actions" disabled={busy} size="sm" variant="outline">
            <Icon name="more" />
          </IconButton>
        </Menu.Trigger>
        <Portal>
          <Menu.Positioner>
            <Menu.Content minW="220px">
              <Menu.Item value="settings">Change settings…</Menu.Item>
              <Menu.Item value="drain">Drain…</Menu.Item>
              <Menu.Item color="var(--mf-alarm)" value="cancel">
                Cancel…
              </Menu.Item>
            </Menu.Content>
          </Menu.Positioner>
        </Portal>
      </Menu.Root>
      {open === "settings" && <SettingsForm close={close} />}
      <Confirm
        act={() => control({ value: {}, verb: "drain" })}
        action="Drain"
        busy={busy}
        close={close}
        open={open === "drain"}
        says={drains()}
        title="Drain this scatter?"
      />
      <Confirm
        act={() => control({ value: {}, verb: "cancel" })}
        action="Cancel the scatter"
        busy={busy}
        close={close}
        danger
        open={open === "cancel"}
        says={cancels(scatter)}
        title="Cancel this scatter?"
      />
    </>
  );
}
