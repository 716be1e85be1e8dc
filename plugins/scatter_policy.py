"""A sample of a cluster policy: what scatters of this deployment may ask for. It is off.

To switch it on, have a file `airflow_local_settings.py`, in the folder `config` of AIRFLOW_HOME or beside this one, say

    from scatter_policy import task_policy

on each host that parses DAGs or runs tasks: both folders are on Airflow's path. Airflow calls it for every task of
every DAG that it reads, so it imports nothing but what Airflow has loaded.
"""

from airflow.exceptions import AirflowClusterPolicyViolation

MOST = {"max_concurrency": 200, "item_retries": 5, "rate_limit": 1000.0}
"""What is more becomes this; what asks for nothing keeps its default, but for `max_concurrency`."""
LONGEST_ITEM = 3600.0
"""Seconds. A longer `item_timeout` becomes this; whether there is one is the author's choice."""
STORES = None
"""URLs and connection ids that a task may choose as its `store`; None: the deployment's own alone."""


def task_policy(task):
    if task.task_type != "ScatterOperator":
        return
    options = task.partial_kwargs if task.is_mapped else task.options
    for name, most in MOST.items():
        if options.get(name) is None:
            if name == "max_concurrency":
                options[name] = most
        elif options[name] > most:
            options[name] = most
    if (options.get("item_timeout") or 0) > LONGEST_ITEM:
        options["item_timeout"] = LONGEST_ITEM
    store = options.get("store") if task.is_mapped else task.store
    if store is not None and store not in (STORES or ()):
        raise AirflowClusterPolicyViolation(
            f"task {task.task_id!r} of DAG {task.dag_id!r} chooses a store of its own, which plugins/scatter_policy.py "
            f"does not allow: leave out store="
        )
