"""Every DAG file as Airflow reads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT

FILES = [file for file in sorted((ROOT / "dags").glob("*.py")) if file.name != "shared.py"]
_READ = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
bag = BundleDagBag(dag_folder=sys.argv[1], bundle_path=Path(sys.argv[1]), bundle_name="dags-folder")
dags = {
    dag_id: {
        "file": dag.fileloc, "doc": dag.doc_md, "tags": sorted(dag.tags), "schedule": str(dag.schedule),
        "at_once": dag.max_active_tasks,
        "params": {name: dag.params.get_param(name).dump() for name in dag.params},
        "tasks": {task.task_id: task.operator_name for task in dag.tasks},
    }
    for dag_id, dag in bag.dags.items()
}
print("\\n" + json.dumps({"errors": bag.import_errors, "dags": dags}))
"""


@pytest.fixture(scope="module")
def bag(dags_env: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-W", "error::manifold", "-c", _READ, str(ROOT / "dags")]
    told = subprocess.run(command, env=dags_env, capture_output=True, text=True, check=True)
    read: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return read


def test_no_file_has_an_import_error(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {}


def test_each_file_has_one_dag_named_like_it(bag: dict[str, Any]) -> None:
    assert {Path(dag["file"]).stem: dag_id for dag_id, dag in bag["dags"].items()} == {
        file.stem: file.stem for file in FILES
    }


def test_each_dag_has_documentation_tags_and_the_same_form(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert dag["doc"].startswith("### ")
        assert "manifold" in dag["tags"]
    for dag in _scattering(bag):
        assert set(dag["params"]) == {"engine", "items", "fail"}
        assert dag["params"]["engine"]["schema"]["enum"][0] == dag["params"]["engine"]["value"] == "default"


def test_the_form_says_what_each_field_and_each_engine_means(bag: dict[str, Any]) -> None:
    for name, dag in bag["dags"].items():
        for field, param in dag["params"].items():
            schema = param["schema"]
            text = param.get("description") or schema.get("description") or schema.get("description_md") or ""
            assert len(text) > 40, f"{name}: {field}"
            for engine in schema.get("enum", []):
                assert f"**{engine}**" in text, f"{name}: {field} does not say what {engine} is"


def test_the_examples_run_on_their_cron_and_the_demo_when_asked(bag: dict[str, Any]) -> None:
    assert bag["dags"]["flight_delays"]["schedule"] == "None"
    assert "12 * * *" in bag["dags"]["squares"]["schedule"] + bag["dags"]["fibonacci"]["schedule"]


def test_the_watch_over_the_cluster_runs_every_five_minutes(bag: dict[str, Any]) -> None:
    health = bag["dags"]["cluster_health"]
    assert health["schedule"] == "0:05:00"
    assert health["params"]["engine"]["value"] == "all"
    assert set(health["tasks"]) == {"engines", "engine", "stores", "store"}


def test_the_comparison_runs_when_asked_one_task_at_a_time(bag: dict[str, Any]) -> None:
    comparison = bag["dags"]["engines_compared"]
    assert comparison["schedule"] == "None"
    assert comparison["at_once"] == 1
    assert comparison["params"]["engines"]["value"] == []
    scatters = [name for name, operator in comparison["tasks"].items() if operator == "@task.scatter"]
    assert scatters == ["each.fibonacci", "each.squares"]


def test_each_other_dag_is_one_scatter_and_one_report(bag: dict[str, Any]) -> None:
    for dag in _scattering(bag):
        assert sorted(dag["tasks"].values()) == ["@task", "@task.scatter"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_dag_is_short_enough_to_be_read_at_a_glance(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 60


def _scattering(bag: dict[str, Any]) -> list[dict[str, Any]]:
    return [dag for dag_id, dag in bag["dags"].items() if dag_id not in ("cluster_health", "engines_compared")]
