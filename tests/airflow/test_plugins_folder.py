"""What Airflow makes of `plugins/`: one page, installed or not, and a policy for those who switch it on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
SWITCH = "from scatter_policy import task_policy\n"

LOADED = """
import importlib.util, json, sys

def hide(metadata):
    every = metadata.distributions
    hidden = "airflow-manifold"
    metadata.distributions = lambda **given: (one for one in every(**given) if one.metadata["Name"] != hidden)

if "--hidden" in sys.argv:  # as on a host where nobody has installed the package
    for name in ("importlib.metadata", "importlib_metadata"):  # Airflow takes the second one on Python 3.11
        if importlib.util.find_spec(name):
            hide(importlib.import_module(name))
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
(page,) = [one for one in plugins if one.name == "manifold"]
print(json.dumps({
    "errors": errors,
    "source": type(page.source).__name__,
    "apps": [app["url_prefix"] for app in page.fastapi_apps],
    "tabs": [app["url_route"] for app in page.react_apps],
    "links": [link.name for link in page.operator_extra_links],
    "listeners": len(page.listeners),
}))
"""

DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def capped():
    @task.scatter(engine="processes://2", {options})
    def double(n):
        return 2 * n
    @task
    def other():
        pass
    double.over(n=[1, 2, 3])
    other()

capped()
"""

PARSED = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1], load_op_links=False)
dag = bag.dags.get("capped")
print(json.dumps({"errors": bag.import_errors, "options": dag and dag.get_task("double").options}))
"""


def run(code: str, home: Path, *words: str, plugins: Path = PLUGINS) -> dict[str, Any]:
    """What code prints last, as JSON, in an Airflow whose folder of plugins is ours."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT / "include"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    told = subprocess.run(
        [sys.executable, "-c", code, *words], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return dict(json.loads(told.stdout.splitlines()[-1]))


def parsed(home: Path, options: str) -> dict[str, Any]:
    """What Airflow reads of a DAG file whose scatter has these options, with the policy switched on."""
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "airflow_local_settings.py").write_text(SWITCH)
    file = home / "dags" / "capped.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(DAG.replace("{options}", options))
    return run(PARSED, home, str(file))


@pytest.mark.parametrize(
    ("hidden", "source", "links"),
    [((), "EntryPointSource", []), (("--hidden",), "PluginsDirectorySource", ["Scatter"])],
)
def test_the_page_is_registered_once_whether_the_package_is_installed_or_not(
    hidden: tuple[str, ...], source: str, links: list[str], tmp_path: Path
) -> None:
    told = run(LOADED, tmp_path, *hidden)
    assert (told["errors"], told["source"], told["links"]) == ({}, source, links)
    assert told["apps"] == ["/manifold"]
    assert told["tabs"] == ["scatters", "scatter", "run-scatters"]
    assert told["listeners"] == 0


def test_the_policy_is_off_unless_somebody_switches_it_on(tmp_path: Path) -> None:
    file = tmp_path / "capped.py"
    file.write_text(DAG.replace("{options}", "max_concurrency=5000"))
    told = run(PARSED, tmp_path, str(file))
    assert told == {
        "errors": {},
        "options": {"engine": "processes://2", "max_concurrency": 5000},
    }


def test_the_policy_lowers_what_is_too_much_and_leaves_the_rest(tmp_path: Path) -> None:
    told = parsed(tmp_path, "max_concurrency=5000, item_timeout=86400, item_retries=2, rate_limit=5000")
    assert told["errors"] == {}
    wanted = {"max_concurrency": 200, "item_timeout": 3600.0, "item_retries": 2, "rate_limit": 1000.0}
    assert told["options"] == {"engine": "processes://2"} | wanted


def test_the_policy_gives_a_scatter_without_a_limit_the_deployments(tmp_path: Path) -> None:
    assert parsed(tmp_path, "")["options"] == {"engine": "processes://2", "max_concurrency": 200}


def test_the_policy_can_be_switched_on_beside_its_file_and_harms_no_plugin(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    shutil.copytree(PLUGINS, plugins)
    (plugins / "airflow_local_settings.py").write_text(SWITCH)
    file = tmp_path / "capped.py"
    file.write_text(DAG.replace("{options}", "max_concurrency=5000"))
    assert run(PARSED, tmp_path, str(file), plugins=plugins)["options"]["max_concurrency"] == 200
    assert run(LOADED, tmp_path, plugins=plugins)["errors"] == {}


def test_the_policy_refuses_a_store_of_the_authors_choice_and_says_so(tmp_path: Path) -> None:
    told = parsed(tmp_path, 'store="file:///elsewhere"')
    assert told["options"] is None
    (error,) = told["errors"].values()
    assert "'double'" in error
    assert "leave out store=" in error


@pytest.mark.parametrize("folder", ["plugins", "dags", "include"])
def test_each_folder_says_in_three_lines_what_it_is_for(folder: str) -> None:
    lines = (ROOT / folder / "README.md").read_text().splitlines()
    assert len(lines) == 3
    assert all(40 < len(line) <= 120 for line in lines)
