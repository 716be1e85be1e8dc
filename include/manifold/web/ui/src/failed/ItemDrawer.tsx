import { CloseButton, Drawer, Portal } from "@chakra-ui/react";

import { address } from "../base/api";
import { count } from "../base/format";
import { Loading } from "../base/Loading";
import { Notice } from "../base/Notice";
import { usePolled } from "../base/usePolled";
import type { FailureDetail } from "../types";
import { ItemStory } from "./ItemStory";

/** One failed item in full, at the side of the page. */
export function ItemDrawer({ uid, pos, close }: { uid: string; pos: number | null; close: () => void }) {
  const url = pos === null ? null : address(`scatters/${uid}/failures/${pos}`);
  const { data, problem } = usePolled<FailureDetail>(url, null);
  const shown = data?.pos === pos ? data : undefined;
  return (
    <Drawer.Root onOpenChange={(change) => !change.open && close()} open={pos !== null} size="lg">
      <Portal>
        <Drawer.Backdrop />
        <Drawer.Positioner>
          <Drawer.Content>
            <Drawer.Header>
              <Drawer.Title>Item {pos === null ? "" : count(pos)}</Drawer.Title>
            </Drawer.Header>
            <Drawer.Body pb={8}>
              {shown ? <ItemStory item={shown} /> : problem ? <Notice kind="warning">{problem.message}</Notice> : <Loading rows={4} />}
            </Drawer.Body>
            <Drawer.CloseTrigger asChild>
              <CloseButton aria-label="Close" size="sm" />
            </Drawer.CloseTrigger>
          </Drawer.Content>
        </Drawer.Positioner>
      </Portal>
    </Drawer.Root>
  );
}
