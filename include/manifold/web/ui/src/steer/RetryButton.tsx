import { Button } from "@chakra-ui/react";
import { useState } from "react";

import { items } from "../base/format";
import { Icon } from "../base/Icon";
import type { Redrive } from "../types";
import { Confirm } from "./Confirm";
import { hindrance, redrives } from "./sentences";
import { useSteering } from "./Steering";

interface Props {
  label: string;
  chosen: Redrive;
  number: number;
  solid?: boolean;
  /** Called when Airflow was told. */
  done?: () => void;
}

/** Runs failed items again, after asking. Not shown to whoever may not; off while the scatter still runs. */
export function RetryButton({ label, chosen, number, solid = false, done }: Props) {
  const { scatter, refusal, busy, redrive } = useSteering();
  const [asking, setAsking] = useState(false);
  if (refusal !== null) return null;
  const obstacle = hindrance(scatter);

  async function act(): Promise<boolean> {
    const well = await redrive(chosen);
    if (well) done?.();
    return well;
  }

  return (
    <>
      <Button
        minW={solid ? undefined : "100px"}
        disabled={busy || obstacle !== null || number === 0}
        onClick={() => setAsking(true)}
        px={solid ? 4 : 2}
        size={solid ? "sm" : "xs"}
        title={obstacle ?? ""}
        variant={solid ? "solid" : "outline"}
      >
        <Icon name="retry" size={solid ? 4 : 3} />
        {label}
      </Button>
      <Confirm
        act={act}
        action={`Retry ${items(number)}`}
        busy={busy}
        close={() => setAsking(false)}
        open={asking}
        says={redrives(scatter, number)}
        title={number === 1 ? "Retry this failed item?" : `Retry ${items(number)} that failed?`}
      />
    </>
  );
}

