import { Grid, Stack } from "@chakra-ui/react";
import { useEffect, useState } from "react";

import { address } from "../base/api";
import { Loading } from "../base/Loading";
import { EVERY } from "../base/poll";
import { Stale } from "../base/Stale";
import { Trouble } from "../base/Trouble";
import { usePolled } from "../base/usePolled";
import { FailedItems } from "../failed/FailedItems";
import { Kinds } from "../failed/Kinds";
import type { Scope } from "../list/scope";
import { InputMap } from "../plots/InputMap";
import { ItemTime } from "../plots/ItemTime";
import { RatePlot } from "../plots/RatePlot";
import { Timeline } from "../plots/Timeline";
import { Steering } from "../steer/Steering";
import type { ScatterDetail } from "../types";
import { Header } from "./Header";
import { History } from "./History";
import { Messages } from "./Messages";
import { Options } from "./Options";
import { Progress } from "./Progress";
import { hasEnded, isWrong } from "./state";
import { Workers } from "./Workers";

interface Props {
  uid: string;
  /** The list that it was opened from; null where it is the only one of its tab. */
  within: Scope | null;
}

const AFTER_AN_ACTION = 120_000;
const SELDOM = 60_000;

/** One scatter: how far it is, how fast, and by whom; what failed comes first where something is wrong. */
export function ScatterView({ uid, within }: Props) {
  const [every, setEvery] = useState<number | null>(EVERY);
  const [expecting, expect] = useState(0);
  const [chosen, choose] = useState("");
  const { data: scatter, problem, at, refresh } = usePolled<ScatterDetail>(address(`scatters/${uid}`), every ?? SELDOM);

  // What has ended may be begun again, by others too: so it is asked for seldom, and as before where that was asked for.
  const resting = scatter !== undefined && hasEnded(scatter) && scatter.control_requests.length === 0;
  useEffect(() => setEvery(resting && !expecting ? null : EVERY), [resting, expecting]);
  useEffect(() => {
    // What was asked for may begin it again: Airflow needs a moment for that.
    const timer = setTimeout(() => expect(0), AFTER_AN_ACTION);
    return () => clearTimeout(timer);
  }, [expecting]);

  if (!scatter) return problem ? <Trouble problem={problem} retry={refresh} /> : <Loading />;
  const showItems = (fingerprint: string): void => {
    choose(fingerprint);
    document.getElementById("failed-items")?.scrollIntoView({ block: "start" });
  };
  const failed = scatter.counts.failed > 0 && (
    <>
      <Kinds every={every} scatter={scatter} show={showItems} />
      <FailedItems chosen={chosen} choose={choose} every={every} scatter={scatter} />
    </>
  );
  return (
    <Steering
      changed={() => {
        expect((was) => was + 1);
        refresh();
      }}
      scatter={scatter}
    >
      <Stack gap={4}>
        <Header scatter={scatter} within={within} />
        <Stale at={at} problem={problem} />
        <Messages scatter={scatter} />
        <Progress scatter={scatter} />
        {isWrong(scatter) && failed}
        <Grid gap={4} templateColumns={{ base: "minmax(0, 1fr)", lg: "minmax(0, 2fr) minmax(0, 1fr)" }}>
          <RatePlot every={every} uid={uid} />
          <ItemTime seconds={scatter.item_seconds} />
        </Grid>
        <Workers scatter={scatter} />
        {!isWrong(scatter) && failed}
        <History scatter={scatter} />
        <InputMap every={every} uid={uid} />
        <Timeline every={every} uid={uid} />
        <Options scatter={scatter} />
      </Stack>
    </Steering>
  );
}
