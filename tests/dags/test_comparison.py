"""The DAG that runs the same job on each engine."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from manifold.airflow import comparison
from tests.dags.conftest import Test
from tests.remote.middles import fleet

SILENT = "tcp://127.0.0.1:9"
SECRET = "tcp://:hush@127.0.0.1:9"


def test_the_same_job_on_each_engine_and_a_reason_for_each_that_is_silent(
    dags_test: Test, dags_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine of workers elsewhere by a connection, one that nobody serves, and two of this host."""
    monkeypatch.delenv("MANIFOLD_SECRET", raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(Path(dags_env["AIRFLOW_HOME"], "manifold")))
    monkeypatch.setitem(dags_env, "AIRFLOW_VAR_MANIFOLD_ENGINES", json.dumps([SILENT, SECRET]))
    monkeypatch.setitem(dags_env, "AIRFLOW__MANIFOLD__DEFAULT_ENGINE", "lab")
    with fleet("tcp", tmp_path) as served:
        monkeypatch.setitem(dags_env, "AIRFLOW_CONN_LAB", served.url)
        written = dags_test("engines_compared") / "engines_compared.csv"
    with written.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(comparison.COLUMNS)
    measured = {(row["job"], row["engine"]): row for row in rows if row["job"]}
    engines = {"lab", "processes://2", "threads://2"}
    assert measured.keys() == {(job, engine) for job in ("fibonacci", "squares") for engine in engines}
    for (job, _), row in measured.items():
        assert int(row["items"]) == (8 if job == "fibonacci" else 100_000)
        assert (row["failed"], row["lost"], row["trouble"]) == ("0", "0", "")
        assert float(row["items_per_second"]) > 0 < float(row["first_result"])
        assert float(row["chunk_seconds"]) >= 0
    others = {row["engine"]: row["trouble"] for row in rows if not row["job"]}
    assert others.keys() == {SILENT, "tcp://:***@127.0.0.1:9"}
    assert "manifold hub" in others[SILENT]
    assert "make a connection of it" in others["tcp://:***@127.0.0.1:9"]
    log = Path(dags_env["AIRFLOW_HOME"], "engines_compared.log").read_text()
    assert "hush" not in log
    assert re.search(r"Returned value was: \[\{'engine': '", log)


def test_one_engine_alone_has_a_table(dags_test: Test) -> None:
    written = dags_test("engines_compared", engines=["threads://2"]) / "engines_compared.csv"
    with written.open(newline="") as file:
        assert [(row["job"], row["engine"]) for row in csv.DictReader(file)] == [
            ("fibonacci", "threads://2"),
            ("squares", "threads://2"),
        ]


def test_without_an_engine_that_answers_the_report_has_the_reasons(dags_test: Test) -> None:
    written = dags_test("engines_compared", engines=[SILENT]) / "engines_compared.csv"
    with written.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["engine"] == SILENT
    assert "manifold hub" in row["trouble"]
    assert row["items"] == ""


def test_a_job_that_failed_before_it_had_begun_has_a_row() -> None:
    [row] = comparison.measured("lab", squares=None)
    assert (row["engine"], row["job"], row["items"]) == ("lab", "squares", None)
    assert "task's log" in row["trouble"]
    assert comparison.lines([row])[1][:4] == ["lab", "squares", "", ""]
