"""The table of the DAG `engines_compared`, where engines fail in the middle of it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, TriggerRule, task, task_group

from manifold.airflow import comparison
from manifold.airflow.decorator import scatter

from .runs import run

pytestmark = [pytest.mark.usefixtures("airflow_db"), pytest.mark.filterwarnings("default")]


@scatter(retries=0)
def half(n: int) -> float:
    if n == 7:
        raise ValueError("seven")
    return n / 2


@scatter(retries=0)
def double(n: int) -> int:
    return 2 * n


def test_a_job_that_fails_has_its_reason_in_the_table_and_the_run_succeeds() -> None:
    """One fails in the middle, the others before they have begun."""

    @task
    def engines() -> list[str]:
        return ["threads://1", "threads://none"]

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def measure(engine: str, halves: Any, doubles: Any) -> list[dict[str, Any]]:
        return comparison.measured(engine, halves=halves, doubles=doubles)

    @task_group
    def each(engine: str) -> Any:
        halves = half.override(engine=engine).over(n=range(20))
        return measure(engine=engine, halves=halves, doubles=double.override(engine=engine).over(n=range(20)))

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def report(rows: Any) -> list[dict[str, Any]]:
        return comparison.table(rows, {"away": "nothing answers"})

    with DAG("table", schedule=None, default_args={"retry_delay": timedelta(0)}) as dag:
        report(each.expand(engine=engines()))
    done = run(dag)
    assert str(done.dagrun.state) == "success"
    table = {(row["job"], row["engine"]): row for row in done.output("report")}
    assert table["doubles", "threads://1"]["trouble"] is None
    assert table["doubles", "threads://1"]["items"] == 20
    assert "seven" in table["halves", "threads://1"]["trouble"]
    assert table["halves", "threads://1"]["failed"] == 1
    assert "see the task's log" in table["halves", "threads://none"]["trouble"]
    assert table[None, "away"]["trouble"] == "nothing answers"
    assert len(table) == 5


def test_engines_that_are_known_are_named_once_and_not_written_out(
    airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAB", "tcp://:hush@127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW_CONN_CRM", "http://example.com")
    monkeypatch.setenv("AIRFLOW_VAR_MANIFOLD_ENGINES", json.dumps(["lab", "threads://2"]))
    monkeypatch.setenv("AIRFLOW__MANIFOLD__DEFAULT_ENGINE", "threads://3")
    assert comparison.names() == ["default", "lab", "threads://2", "processes://2"]
    answering, others = comparison.look(["default", "lab", "tcp://:hush@127.0.0.1:9", "threads://2"])
    assert answering == ["default", "threads://2"]
    assert others.keys() == {"lab", "tcp://:***@127.0.0.1:9"}
    assert "manifold hub" in others["lab"]
    assert "hush" not in repr(others)
