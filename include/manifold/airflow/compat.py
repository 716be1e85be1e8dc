"""The only place that imports what Airflow calls private. A new Airflow release is checked here first.

Written for Airflow 3.3 and 3.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.sdk.bases.decorator import get_unique_task_id
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.sdk.definitions._internal.mixins import ResolveMixin

__all__ = ["ResolveMixin", "allow_in_xcom", "building_a_dag", "bundle_root", "get_unique_task_id", "in_dags_test"]


def building_a_dag() -> bool:
    """A `with DAG(...)` block or a `@dag` function is open in this thread."""
    return DagContext.get_current() is not None


def in_dags_test() -> bool:
    """This task runs inside `airflow dags test`, in one process and without a scheduler."""
    from airflow.sdk.execution_time import task_runner

    return type(getattr(task_runner, "SUPERVISOR_COMMS", None)).__name__ == "InProcessSupervisorComms"


def bundle_root(task_instance: Any) -> Path | None:
    """The folder of the DAG bundle that a running task came from; None in `airflow dags test`, which has none."""
    bundle = getattr(task_instance, "bundle_instance", None)
    return None if bundle is None else Path(bundle.path)


def allow_in_xcom(cls: type) -> None:
    """Let this process read `cls` from XCom without a change of Airflow's configuration."""
    from airflow.sdk.serde import allow_class

    allow_class(cls)
