/** The part of Airflow whose scatters are shown. */
export interface Scope {
  dag_id?: string | undefined;
  run_id?: string | undefined;
  task_id?: string | undefined;
  map_index?: string | undefined;
}
