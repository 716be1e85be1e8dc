import { Button } from "@chakra-ui/react";
import { useState } from "react";

import { Icon } from "../base/Icon";
import type { Redrive } from "../types";
import { Confirm } from "./Confirm";
import { useSteering } from "./Steering";

interface Props {
  label: string;
  chosen: Redrive;
  title: string;
  says: string[];
  solid?: boolean;
  danger?: boolean;
}

/** Runs the scatter's task again for more than failed items, after asking. */
export function AgainButton({ label, chosen, title, says, solid = false, danger = false }: Props) {
  const { busy, redrive } = useSteering();
  const [asking, setAsking] = useState(false);
  return (
    <>
      <Button disabled={busy} onClick={() => setAsking(true)} size="sm" variant={solid ? "solid" : "outline"}>
        <Icon name={solid ? "play" : "retry"} />
        {label}
      </Button>
      <Confirm
        act={() => redrive(chosen)}
        action={label}
        busy={busy}
        close={() => setAsking(false)}
        danger={danger}
        open={asking}
        says={says}
        title={title}
      />
    </>
  );
}
