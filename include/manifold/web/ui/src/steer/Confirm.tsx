import { Button, Dialog, Portal, Stack, Text } from "@chakra-ui/react";

import { DialogFoot } from "./DialogFoot";

interface Props {
  open: boolean;
  title: string;
  /** What will happen, a paragraph each. */
  says: string[];
  /** What the button says: the action itself, never "OK". */
  action: string;
  danger?: boolean;
  busy: boolean;
  close: () => void;
  act: () => Promise<boolean>;
}

/** Asks before something that cannot be taken back; says what it will do. Escape does nothing. */
export function Confirm({ open, title, says, action, danger = false, busy, close, act }: Props) {
  return (
    <Dialog.Root onOpenChange={(change) => !change.open && close()} open={open} placement="center" role="alertdialog" size="sm">
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content mx={4}>
            <Dialog.Header>
              <Dialog.Title>{title}</Dialog.Title>
            </Dialog.Header>
            <Dialog.Body>
              <Stack gap={3}>
                {says.map((text) => (
                  <Text key={text} lineHeight="1.6" overflowWrap="anywhere">
                    {text}
                  </Text>
                ))}
              </Stack>
            </Dialog.Body>
            <DialogFoot back={close} busy={busy}>
              <Button
                {...(danger ? { colorPalette: "danger" } : {})}
                loading={busy}
                onClick={() => void act().then(close)}
                size="sm"
              >
                {action}
              </Button>
            </DialogFoot>
          </Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}
