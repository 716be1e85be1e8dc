"""A running Airflow with the page in it, one DAG worth watching, and the people who look."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from manifold.demo.environment import Place
from manifold.demo.run import clean
from manifold.demo.screen import Screen
from manifold.demo.stack import Stack
from manifold.ledger import Ledger, open_ledger, scatter_name
from manifold.protocol.records import ScatterRow
from manifold.testing.engines import until

ROOT = Path(__file__).parents[3]
DAG, TASK = "invoices", "render"

# Every 17th invoice fails, until the file is there: a retry has something to find fixed.
_INVOICES = '''
"""Slow items, some of which fail until somebody fixes what they need."""
import time
from pathlib import Path

from airflow.sdk import Param, dag, task

FIXED = Path({fixed!r})


def number(invoice):
    return f"INV-{{invoice:06}}"


@task.scatter(engine="celery_default", tolerate="20%", key=number, chunk_size=10)
def render(invoice, seconds):
    print(f"rendering {{number(invoice)}}")
    time.sleep(float(seconds))
    if invoice % 17 == 3 and not FIXED.exists():
        print("the renderer answered 503, giving up")
        if invoice % 2:
            raise TimeoutError("no answer from the renderer")
        raise ValueError("the template has no such field")
    return invoice


@task
def post(rendered):
    print(len(rendered))


@dag(schedule=None, params={{"items": Param(200, type="integer"), "seconds": Param(0.01, type="number")}})
def invoices():
    def numbers(context):
        return list(range(context["params"]["items"]))

    post(render.partial(seconds="{{{{ params.seconds }}}}").over(invoice=numbers))


invoices()
'''


@dataclass(frozen=True)
class Site:
    """`passwords` are of admin and viewer."""

    stack: Stack
    ledger: Ledger
    passwords: dict[str, str]
    fixed: Path

    @property
    def url(self) -> str:
        return self.stack.url

    def begin(self, items: int, seconds: float) -> str:
        """The id of a DAG run whose scatter has begun."""
        conf = {"items": items, "seconds": seconds}
        run = self._rest("POST", f"dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf})
        run_id = str(run["dag_run_id"])
        until(lambda: self.scatter(run_id), f"the scatter of {run_id}", 120)
        return run_id

    def scatter(self, run_id: str) -> ScatterRow | None:
        self.stack.watch()
        return self.ledger.find(scatter_name(DAG, run_id, TASK, -1))

    def ended(self, run_id: str) -> ScatterRow:
        """The scatter, once its DAG run is over."""
        until(lambda: self.stack.api.state(DAG, run_id) in ("success", "failed"), f"the end of {run_id}", 180)
        row = self.scatter(run_id)
        assert row is not None
        return row

    def tab(self, run_id: str, task: bool = True) -> str:
        """The path of the tab on the task instance, or on its DAG run."""
        run = f"/dags/{DAG}/runs/{quote(run_id, safe='')}"
        return f"{run}/tasks/{TASK}/plugin/scatter" if task else f"{run}/plugin/run-scatters"

    def _rest(self, method: str, path: str, body: object = None) -> Any:
        return self.stack.api._call(method, f"/api/v2/{path}", body)


@contextmanager
def running(root: Path) -> Iterator[Site]:
    """The site, with all that it needs started in that folder."""
    shutil.copytree(ROOT / "dags", root / "dags")
    fixed = root / "fixed"
    (root / "dags" / f"{DAG}.py").write_text(_INVOICES.format(fixed=str(fixed)))
    place = Place(state=root / ".manifold", dags=root / "dags", plugins=root / "plugins")
    for folder in (place.state, place.plugins):
        folder.mkdir(mode=0o711)
    people = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer"}
    try:
        with Stack(place, Screen(Console(file=io.StringIO())), people) as stack:
            stack.wait_for(DAG)
            passwords = json.loads((place.state / "airflow" / "passwords.json").read_text())
            ledger = open_ledger(stack.ledger_url)
            try:
                yield Site(stack, ledger, passwords, fixed)
            finally:
                ledger.close()
    finally:
        clean(root)
