import { Button, CloseButton, Dialog } from "@chakra-ui/react";
import type { ReactNode } from "react";

interface Props {
  back: () => void;
  busy?: boolean;
  /** The button of the action itself. */
  children: ReactNode;
}

/** How every dialog ends: a way back, the action, and the cross at its corner. */
export function DialogFoot({ back, busy = false, children }: Props) {
  return (
    <>
      <Dialog.Footer>
        <Button disabled={busy} onClick={back} size="sm" variant="outline">
          Back
        </Button>
        {children}
      </Dialog.Footer>
      <Dialog.CloseTrigger asChild>
        <CloseButton aria-label="Close" size="sm" />
      </Dialog.CloseTrigger>
    </>
  );
}
