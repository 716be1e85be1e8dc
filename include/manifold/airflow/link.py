"""The button "Scatter" among a task instance's extra links."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

ROUTE = "scatter"
"""Where the page's tab on a task instance is; the plugin registers it."""


def task_page(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """The page of a task instance in Airflow's UI, from its base URL on."""
    dag, run, task = (quote(part, safe="") for part in (dag_id, run_id, task_id))
    return f"/dags/{dag}/runs/{run}/tasks/{task}{f'/mapped/{map_index}' if map_index >= 0 else ''}"


class ScatterLink(BaseOperatorLink):
    """Leads to the tab that shows the task's scatter. Airflow shows it once a try has ended."""

    name = "Scatter"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        base = (conf.get("api", "base_url", fallback=None) or "").rstrip("/")
        index = -1 if ti_key.map_index is None else ti_key.map_index
        return f"{base}{task_page(ti_key.dag_id, ti_key.run_id, ti_key.task_id, index)}/plugin/{ROUTE}"
