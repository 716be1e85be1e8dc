import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";

import { post } from "../base/api";
import { isLive } from "../scatter/state";
import type { Asked, Control, Redrive, Redriven, ScatterDetail } from "../types";
import { asked, redriven } from "./sentences";

/** What became of the latest action. */
export interface Said {
  text: string;
  bad: boolean;
  /** How the scatter stood when it was said. */
  stage: string;
}

interface Steer {
  scatter: ScatterDetail;
  /** Why the reader may not steer; null where they may. */
  refusal: string | null;
  busy: boolean;
  said: Said | null;
  dismiss: () => void;
  /** Each tells whether it went well; what happened stands in `said`. */
  control: (request: Control) => Promise<boolean>;
  redrive: (chosen: Redrive) => Promise<boolean>;
}

const Context = createContext<Steer | null>(null);

export function useSteering(): Steer {
  const found = useContext(Context);
  if (!found) throw new Error("useSteering belongs below <Steering>");
  return found;
}

interface Props {
  scatter: ScatterDetail;
  /** Called after each action that went well. */
  changed: () => void;
  children: ReactNode;
}

/** Lets everything below it steer the scatter, one action at a time. */
export function Steering({ scatter, changed, children }: Props) {
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<Said | null>(null);

  const now = stage(scatter);
  const latest = useRef(now);
  latest.current = now;

  const act = useCallback(
    async (action: () => Promise<string>): Promise<boolean> => {
      setBusy(true);
      try {
        setSaid({ bad: false, stage: latest.current, text: await action() });
        changed();
        return true;
      } catch (error) {
        setSaid({ bad: true, stage: latest.current, text: error instanceof Error ? error.message : String(error) });
        return false;
      } finally {
        setBusy(false);
      }
    },
    [changed],
  );

  // A sentence about what will be is taken away once it is so, or something else has come of it.
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => setSaid(null), said.stage === now ? LONGEST : SHORTEST);
    return () => clearTimeout(timer);
  }, [said, now]);

  const { uid } = scatter;
  const value = useMemo<Steer>(
    () => ({
      busy,
      control: (request) => act(async () => asked(await post<Asked>(`scatters/${uid}/controls`, request))),
      dismiss: () => setSaid(null),
      redrive: (chosen) => act(async () => redriven(await post<Redriven>(`scatters/${uid}/redrive`, chosen))),
      refusal: refusal(scatter),
      said,
      scatter,
    }),
    [act, busy, said, scatter, uid],
  );
  return <Context value={value}>{children}</Context>;
}

const SHORTEST = 8_000;
const LONGEST = 300_000;

/** What changes when an action takes effect. */
const stage = ({ state, tries, settings, paused_by, control_requests }: ScatterDetail): string =>
  JSON.stringify([state, tries, settings, paused_by, control_requests.length]);

function refusal({ may, task, state, run_deleted }: ScatterDetail): string | null {
  if (run_deleted && !isLive(state)) return "Its DAG run was deleted in Airflow, so nothing there can run it again.";
  if (may.steer) return null;
  return task ? `You may look, but not steer: that takes the right to run ${task.dag_id}.` : "You may look, but not steer.";
}
