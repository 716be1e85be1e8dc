"""The DAGs under the whole production shape: each way that a run can begin, on the Celery workers."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rich.console import Console

from manifold.config import new_secret
from manifold.demo.api import ApiError
from manifold.demo.environment import Place
from manifold.demo.run import clean
from manifold.demo.screen import Screen
from manifold.demo.stack import Stack
from manifold.ledger import Ledger, open_ledger, scatter_name
from manifold.protocol.records import ScatterRow

ROOT = Path(__file__).parents[2]
EVERY_MINUTE = "each_minute"
SLOW = """
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, task


def slowly(n):
    if not Path("GO").exists():
        time.sleep(0.2)
    return n


@dag(schedule=None)
def slow():
    scatter = task.scatter(slowly, engine="celery_default", chunk_size=1, max_concurrency=2, retries=0)
    scatter.over(n=range(600))


@dag(schedule=None)
def too_slow():
    limit = timedelta(seconds=10)
    task.scatter(slowly, engine="celery_default", chunk_size=1, retries=0, execution_timeout=limit).over(n=range(6_000))


slow()
too_slow()
"""
"""Two DAGs whose items are slow until the file GO is there."""

pytestmark = pytest.mark.timeout(600)


class Runs:
    """DAG runs of a running stack, and what the ledger says of them."""

    def __init__(self, stack: Stack, go: Path) -> None:
        self.stack = stack
        self.go = go
        self.ledger: Ledger = open_ledger(stack.ledger_url)

    def rest(self, method: str, path: str, body: object = None) -> Any:
        return self.stack.api._call(method, f"/api/v2/{path}", body)

    def airflow(self, *words: str) -> str:
        """What an `airflow` command prints."""
        command = [sys.executable, "-m", "airflow", *words]
        # The password of the demo's own admin, for commands that call Airflow's API as somebody.
        env = self.stack._env | {"AIRFLOW_API_USER": "admin", "AIRFLOW_API_PASSWORD": self.stack.secrets.admin}
        told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    def of(self, dag_id: str, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.rest("GET", f"dags/{dag_id}/dagRuns?run_type={kind}")["dag_runs"]
        return found

    def finished(self, dag_id: str, run_id: str, task_id: str) -> ScatterRow:
        """The scatter of a run that has succeeded, when it has."""
        until(lambda: self.state(dag_id, run_id) in ("success", "failed"), f"the end of {dag_id} {run_id}")
        assert self.state(dag_id, run_id) == "success", self.stack.api.failed_tasks(dag_id, run_id)
        row = self.ledger.find(scatter_name(dag_id, run_id, task_id, -1))
        assert row is not None
        assert row.total == row.done
        return row

    def state(self, dag_id: str, run_id: str) -> str:
        self.stack.watch()
        return self.stack.api.state(dag_id, run_id)


def until(holds: Callable[[], bool], what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The stack, its secret and store configured through Airflow, with one more DAG: squares, each minute, paused."""
    root = tmp_path_factory.mktemp("stack")
    shutil.copytree(ROOT / "dags", root / "dags")
    (root / "dags" / f"{EVERY_MINUTE}.py").write_text(each_minute((root / "dags" / "squares.py").read_text()))
    (root / "dags" / "slow.py").write_text(SLOW.replace("GO", str(root / "go")))
    place = Place(state=root / ".manifold", dags=root / "dags", plugins=root / "plugins")
    for folder in (place.state, place.plugins):
        folder.mkdir(mode=0o711)
    configured = {"secret": new_secret(), "store": (place.state / "blobs").as_uri()}
    extra = {f"AIRFLOW__MANIFOLD__{name.upper()}": value for name, value in configured.items()}
    extra |= {f"MANIFOLD_{name.upper()}": "" for name in configured}
    try:
        with Stack(place, Screen(Console(file=io.StringIO())), extra) as stack:
            for dag_id in (
                "engines_compared",
                "flight_delays",
                "squares",
                "fibonacci",
                EVERY_MINUTE,
                "slow",
                "too_slow",
            ):
                stack.wait_for(dag_id)
            found = Runs(stack, root / "go")
            yield found
            found.ledger.close()
    finally:
        clean(root)


def each_minute(text: str) -> str:
    """The DAG squares under another name and on another cron."""
    for old, new in {
        "0 12 * * *": "* * * * *",
        "@dag(": "@dag(is_paused_upon_creation=True, ",
        "def squares()": f"def {EVERY_MINUTE}()",
        "\nsquares()": f"\n{EVERY_MINUTE}()",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def trigger(runs: Runs, dag_id: str, **conf: object) -> str:
    """What the web page's trigger form sends."""
    run = runs.rest("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
    return str(run["dag_run_id"])


@pytest.mark.parametrize(
    ("dag_id", "task_id", "items"),
    [("flight_delays", "delay", 20_000), ("squares", "square", 500), ("fibonacci", "number", 15)],
)
def test_each_dag_runs_from_the_trigger_form_on_the_celery_workers(
    runs: Runs, dag_id: str, task_id: str, items: int
) -> None:
    run_id = trigger(runs, dag_id, engine="celery_default", items=items, fail=0.01)
    row = runs.finished(dag_id, run_id, task_id)
    assert row.engine == "celery://manifold"
    assert (row.total, row.n_ok + row.n_failed) == (items, items)


def test_the_same_job_runs_on_each_engine_one_task_at_a_time(runs: Runs) -> None:
    run_id = trigger(runs, "engines_compared", engines=["celery_default", "threads://2", "abacus://1"])
    until(lambda: runs.state("engines_compared", run_id) in ("success", "failed"), "the end of the comparison", 480)
    assert runs.state("engines_compared", run_id) == "success", runs.stack.api.failed_tasks("engines_compared", run_id)
    tasks = runs.rest("GET", f"dags/engines_compared/dagRuns/{run_id}/taskInstances")["task_instances"]
    times = sorted((one["start_date"], one["end_date"]) for one in tasks)
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(times)), "none slows another"
    at = f"dags/engines_compared/dagRuns/{run_id}/taskInstances/report/xcomEntries/return_value"
    table = runs.rest("GET", at)["value"]
    rows = {(row["job"], row["engine"]): row for row in (json.loads(table) if isinstance(table, str) else table)}
    engines = {"celery_default", "threads://2"}
    assert rows.keys() == {(job, one) for job in ("fibonacci", "squares") for one in engines} | {(None, "abacus://1")}
    assert {row["items"] for (job, _), row in rows.items() if job == "squares"} == {100_000}
    assert "abacus" in rows[None, "abacus://1"]["trouble"]
    name = scatter_name("engines_compared", run_id, "each.squares", 0)
    row = runs.ledger.find(name)
    assert row is not None
    assert row.engine == "celery://manifold"


def test_the_form_refuses_what_is_not_on_offer(runs: Runs) -> None:
    with pytest.raises(ApiError, match="400"):
        trigger(runs, "squares", engine="abacus://1")


def test_a_run_begins_from_the_command_line(runs: Runs) -> None:
    conf = json.dumps({"engine": "celery_default", "items": 200})
    runs.airflow("dags", "trigger", "squares", "-c", conf, "-r", "by_hand")
    assert runs.finished("squares", "by_hand", "square").total == 200


def test_a_run_begins_on_its_cron_with_the_deployments_engine(runs: Runs) -> None:
    runs.rest("PATCH", f"dags/{EVERY_MINUTE}", {"is_paused": False})
    until(lambda: bool(runs.of(EVERY_MINUTE, "scheduled")), "a minute's tick", seconds=150)
    run_id = runs.of(EVERY_MINUTE, "scheduled")[0]["dag_run_id"]
    row = runs.finished(EVERY_MINUTE, run_id, "square")
    runs.rest("PATCH", f"dags/{EVERY_MINUTE}", {"is_paused": True})
    assert (row.total, row.engine) == (1_000, "celery://manifold")


def test_past_days_are_run_by_a_backfill(runs: Runs) -> None:
    days = ["--from-date", "2026-03-01", "--to-date", "2026-03-03"]
    conf = json.dumps({"engine": "celery_default", "items": 50})
    runs.airflow("backfill", "create", "--dag-id", "squares", *days, "--dag-run-conf", conf)
    until(lambda: len(runs.of("squares", "backfill")) == 2, "two runs")
    for run in runs.of("squares", "backfill"):
        assert runs.finished("squares", run["dag_run_id"], "square").total == 50


def test_a_cleared_task_starts_from_scratch_and_its_downstream_reads_the_new_results(runs: Runs) -> None:
    run_id = trigger(runs, "squares", engine="celery_default", items=100)
    before = runs.finished("squares", run_id, "square")
    cleared = {"dag_run_id": run_id, "task_ids": ["square"], "include_downstream": True, "dry_run": False}
    runs.rest("POST", "dags/squares/clearTaskInstances", {**cleared, "only_failed": False})
    until(lambda: runs.ledger.scatter(before.uid).state == "replaced", "a fresh start")
    assert runs.finished("squares", run_id, "square").uid != before.uid


def test_failed_items_are_run_again_through_airflow_by_redrive(runs: Runs) -> None:
    run_id = trigger(runs, "squares", engine="celery_default", items=1000, fail=0.05)
    before = runs.finished("squares", run_id, "square")
    assert before.n_failed > 0
    runs.airflow("manifold", "redrive", before.uid)
    until(lambda: runs.ledger.scatter(before.uid).epoch > before.epoch, "a try that takes it over")
    after = runs.finished("squares", run_id, "square")
    assert (after.uid, after.n_ok, after.n_failed) == (before.uid, before.n_ok, before.n_failed)
    said = runs.rest("GET", f"dags/squares/dagRuns/{quote(run_id)}/taskInstances/square/logs/2?full_content=true")
    assert f"runs the {before.n_failed} failed items again, as somebody asked" in json.dumps(said)


def begun(runs: Runs, dag_id: str) -> tuple[str, ScatterRow]:
    """A DAG run whose scatter has committed something, and goes on."""
    runs.go.unlink(missing_ok=True)
    run_id = trigger(runs, dag_id)
    name = scatter_name(dag_id, run_id, "slowly", -1)
    until(lambda: (row := runs.ledger.find(name)) is not None and row.n_ok > 0, f"an item of {dag_id}")
    row = runs.ledger.find(name)
    assert row is not None
    return run_id, row


def stands(runs: Runs, uid: str) -> tuple[str, str | None]:
    """State and reason of a scatter, which command line, list and page tell alike."""
    told = runs.ledger.state(uid)
    shown = json.loads(runs.airflow("manifold", "show", uid, "--json"))
    listed = {one["scatter"]: one for one in json.loads(runs.airflow("manifold", "ls", "--json"))["scatters"]}
    page = runs.stack.api._call("GET", f"/manifold/api/scatters/{uid}")
    for answer in (shown, listed[uid], page):
        assert (answer["state"], answer["message"]) == (told.state, told.reason)
        assert answer["run_deleted"] is False
    return told.state, told.reason


@pytest.mark.parametrize(("given", "state"), [("failed", "failed"), ("success", "cancelled")])
def test_a_task_that_is_marked_while_it_runs_ends_its_scatter_with_the_reason(
    runs: Runs, given: str, state: str
) -> None:
    run_id, row = begun(runs, "slow")
    assert stands(runs, row.uid) == ("running", None)
    runs.rest("PATCH", f"dags/slow/dagRuns/{quote(run_id)}/taskInstances/slowly", {"new_state": given})
    until(lambda: runs.ledger.state(row.uid).state not in ("running", "stopped"), f"the end of a task marked {given}")
    told, why = stands(runs, row.uid)
    assert (told, why) == (state, f"its task was marked as {given} in Airflow while it ran")


def test_a_task_that_runs_too_long_ends_its_scatter_with_the_reason(runs: Runs) -> None:
    _, row = begun(runs, "too_slow")
    until(lambda: runs.ledger.state(row.uid).state not in ("running", "stopped"), "the end of the time allowed")
    told, why = stands(runs, row.uid)
    assert told == "failed"
    assert "longer than its execution_timeout" in str(why)


def test_a_drained_task_waits_continues_and_starts_from_scratch_when_it_is_cleared(runs: Runs) -> None:
    run_id, row = begun(runs, "slow")
    runs.airflow("manifold", "drain", row.uid)
    until(lambda: runs.ledger.state(row.uid).state == "drained", "the drain")
    task = f"dags/slow/dagRuns/{quote(run_id)}/taskInstances/slowly"
    until(lambda: runs.rest("GET", task)["state"] == "up_for_reschedule", "a task that waits")
    told, why = stands(runs, row.uid)
    assert told == "drained"
    assert "drained by" in str(why)
    runs.go.touch()
    runs.airflow("manifold", "resume", row.uid)
    done = runs.finished("slow", run_id, "slowly")
    assert (done.uid, done.n_ok, runs.rest("GET", task)["try_number"]) == (row.uid, 600, 1)
    assert stands(runs, row.uid) == ("succeeded", None)
    cleared = {"dag_run_id": run_id, "task_ids": ["slowly"], "dry_run": False, "only_failed": False}
    runs.rest("POST", "dags/slow/clearTaskInstances", cleared)
    until(lambda: runs.ledger.scatter(row.uid).state == "replaced", "a fresh start")
    assert runs.finished("slow", run_id, "slowly").uid != row.uid


def test_airflow_tasks_test_leaves_nothing_in_the_list(runs: Runs) -> None:
    runs.go.touch()
    runs.airflow("tasks", "test", "slow", "slowly")
    listed = json.loads(runs.airflow("manifold", "ls", "--json"))["scatters"]
    assert [one["name"] for one in listed if "temporary" in one["name"]] == []
    runs.airflow("manifold", "gc")
    everything = json.loads(runs.airflow("manifold", "ls", "--all", "--json"))["scatters"]
    assert [one["name"] for one in everything if "temporary" in one["name"]] == []
