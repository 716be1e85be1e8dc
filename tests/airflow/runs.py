"""DAG runs in this process, by the loop of `airflow dags test`, and what a person does to them afterwards."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog.testing
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.sdk import DAG
from airflow.sdk.definitions.dag import _run_task
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState


@dataclass
class Run:
    """A DAG run that has ended."""

    dag: DAG
    dagrun: DagRun

    def task(self, task_id: str, map_index: int = -1) -> TaskInstance:
        with create_session() as session:
            found = self.dagrun.get_task_instance(task_id, session=session, map_index=map_index)
            assert found is not None
            return found

    def state(self, task_id: str, map_index: int = -1) -> str:
        return str(self.task(task_id, map_index).state)

    def output(self, task_id: str, map_index: int = -1) -> Any:
        from airflow.sdk.serde import deserialize

        return deserialize(self.task(task_id, map_index).xcom_pull(task_ids=task_id, map_indexes=map_index))

    def clear(self, task_id: str) -> None:
        """What "Clear task" does, and one more try of that task."""
        with create_session() as session:
            clear_task_instances([self.task(task_id)], session, dag_run_state=DagRunState.RUNNING)
        self.again(task_id)

    def again(self, task_id: str) -> None:
        """One more try of a task, as a scheduler starts it."""
        with create_session() as session:
            ti = self.dagrun.get_task_instance(task_id, session=session)
            assert ti is not None
            ti.try_number += 1
            ti.state = TaskInstanceState.SCHEDULED
            session.merge(ti)
        _run_task(ti=self.task(task_id), task=self.dag.task_dict[task_id])


def run(dag: DAG, conf: dict[str, Any] | None = None, at: datetime | None = None) -> Run:
    """The DAG run, when it has ended, whatever its state."""
    bag = DagBag(os.devnull, bundle_path=Path(os.devnull))
    bag.bag_dag(dag)
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(bag, "dags-folder", None)
    return Run(dag, dag.test(run_conf=conf, run_after=at) if at else dag.test(run_conf=conf))


def lines(captured: list[Any]) -> list[str]:
    """The events of a captured log, as text."""
    return [str(one.get("event", "")) for one in captured]


capture = structlog.testing.capture_logs
