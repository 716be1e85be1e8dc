"""How the page gets into Airflow: light for every process, and where people look for it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.web.conftest import Login

pytestmark = pytest.mark.filterwarnings("default")

ALONE = """
import json, sys
import airflow.plugins_manager
before = set(sys.modules)
from manifold.web.plugin import ManifoldPlugin
plugin = ManifoldPlugin()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_plugin_costs_a_process_nothing(airflow_db: object) -> None:
    told = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, timeout=120)
    loaded = json.loads(told.stdout.splitlines()[-1])
    assert [name for name in loaded if not name.startswith("manifold")] == []
    assert set(loaded) <= {"manifold", "manifold.web", "manifold.web.plugin", *core_of_manifold()}


def core_of_manifold() -> set[str]:
    """What `import manifold` loads by itself."""
    code = "import json, sys, manifold; print(json.dumps([one for one in sys.modules if one.startswith('manifold')]))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(told.stdout))


def plugin(login: Login) -> dict[str, Any]:
    found = login("admin").get("/api/v2/plugins").json()["plugins"]
    (one,) = (one for one in found if one["name"] == "manifold")
    return dict(one)


def test_airflow_knows_the_page_by_its_entry_point(login: Login) -> None:
    assert login("admin").get("/api/v2/plugins/importErrors").json()["import_errors"] == []
    places = {one["destination"]: one["url_route"] for one in plugin(login)["react_apps"]}
    assert places == {"nav": "scatters", "task_instance": "scatter", "dag_run": "run-scatters"}


def test_each_place_has_a_url_of_the_bundle_of_its_own(login: Login) -> None:
    # A module is run once per URL, and Airflow takes what a run has left.
    urls = [one["bundle_url"] for one in plugin(login)["react_apps"]]
    assert len(set(urls)) == 3
    # From Airflow's base URL on, which may have a path.
    assert all(url.startswith("manifold/static/main.js?") for url in urls)


def test_icons_are_served_to_anybody(login: Login) -> None:
    for one in plugin(login)["react_apps"]:
        for name in ("icon", "icon_dark_mode"):
            answer = login("").get(f"/{one[name]}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
