import type { Scatter, Task } from "../types";

const quote = encodeURIComponent;

/** The task instance in Airflow's page; relative to Airflow's base URL. */
export function taskPath(task: Task): string {
  const path = `/dags/${quote(task.dag_id)}/runs/${quote(task.run_id)}/tasks/${quote(task.task_id)}`;
  return task.map_index < 0 ? path : `${path}/mapped/${task.map_index}`;
}

/** The page of its own in Airflow's navigation, as the plugin registers it. */
export const LIST_PATH = "/plugin/scatters";

/** "flight_delays / delay", or the scatter's own name where no Airflow task began it. */
export function title(scatter: Scatter): string {
  const { task } = scatter;
  if (!task) return scatter.name;
  const index = task.map_index < 0 ? "" : ` [${task.map_index}]`;
  return `${task.dag_id} / ${task.task_id}${index}`;
}

/** How a scatter of many with the same title is told apart: by its DAG run. */
export const subtitle = (scatter: Scatter): string => scatter.task?.run_id ?? scatter.function;
