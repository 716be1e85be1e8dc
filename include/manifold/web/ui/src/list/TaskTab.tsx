import { address } from "../base/api";
import { Empty } from "../base/Empty";
import { Loading } from "../base/Loading";
import { Trouble } from "../base/Trouble";
import { usePolled } from "../base/usePolled";
import { ScatterView } from "../scatter/ScatterView";
import type { Scatters } from "../types";
import type { Scope } from "./scope";
import { ScatterList } from "./ScatterList";

/** The tab on a DAG run or a task instance: its scatter, or the list where there are several. */
export function TaskTab({ scope }: { scope: Scope }) {
  const { data, problem, refresh } = usePolled<Scatters>(address("scatters", { ...scope, limit: 2 }));
  if (!data) return problem ? <Trouble problem={problem} retry={refresh} /> : <Loading />;
  const [first, second] = data.scatters;
  if (second) return <ScatterList scope={scope} />;
  if (first) return <ScatterView key={first.uid} uid={first.uid} within={null} />;
  return (
    <Empty title={scope.task_id ? "This task instance has no scatter" : "No task of this run has a scatter yet"}>
      A scatter is shown here as soon as a task that is made with @task.scatter begins to run.
    </Empty>
  );
}
