"""Scatters of the deployment itself, and scatters whose DAG run was deleted in Airflow: `ls`, `show` and `gc`."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from manifold.airflow.deleted import TEMPORARY
from manifold.cli import runs, shapes
from manifold.ledger import Claim, Ledger, scatter_name
from tests.cli.conftest import Cli, said
from tests.ledger import made

GONE = "its DAG run was deleted in Airflow"


@pytest.fixture
def airflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Airflow's database, which this deployment names."""
    path = tmp_path / "airflow.db"
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript("CREATE TABLE dag (dag_id TEXT); CREATE TABLE dag_run (dag_id TEXT, run_id TEXT)")
    return path


def hold(path: Path, dags: Iterable[str] = (), dag_runs: Iterable[tuple[str, str]] = ()) -> None:
    with closing(sqlite3.connect(path)) as conn:
        conn.executemany("INSERT INTO dag VALUES (?)", [(one,) for one in dags])
        conn.executemany("INSERT INTO dag_run VALUES (?, ?)", list(dag_runs))
        conn.commit()


def ended(ledger: Ledger, run: str, dag: str = "etl", state: str = "cancelled") -> Claim:
    name = scatter_name(dag, run, "fetch", -1)
    claim = ledger.acquire(ledger.create(made.new(name)).uid, made.owner(claim_key=name, claim_no=1))
    if state == "cancelled":
        claim.end("cancelled", "enough")
    return claim


def test_scatters_of_the_deployment_itself_are_listed_when_asked_for(cli: Cli, book: Ledger) -> None:
    made.claimed(book, "cluster_health/threads://2", system=True)
    assert "--all lists them" in cli("ls").stdout
    made.claimed(book, "mine")
    listed = said(cli("ls", "--json"), shapes.Listing).scatters
    assert [one.name for one in listed] == ["mine"]
    listed = said(cli("ls", "--all", "--json"), shapes.Listing).scatters
    assert {one.name for one in listed} == {"mine", "cluster_health/threads://2"}
    assert "cluster_health" in cli("show", "cluster_health/threads://2").stdout


def test_a_scatter_whose_run_was_deleted_says_so_and_gc_takes_it(cli: Cli, book: Ledger, airflow: Path) -> None:
    hold(airflow, ["etl"], [("etl", "kept")])
    kept, deleted, running = ended(book, "kept"), ended(book, "deleted"), ended(book, "running", state="running")
    listed = {one.scatter: one for one in said(cli("ls", "--json"), shapes.Listing).scatters}
    assert {uid: one.run_deleted for uid, one in listed.items()} == {
        kept.uid: False,
        deleted.uid: True,
        running.uid: False,
    }
    assert listed[deleted.uid].message == f"{GONE}; enough"
    assert GONE in cli("show", deleted.uid).stdout
    assert GONE not in cli("show", kept.uid).stdout
    assert GONE in cli("gc", "--dry-run").stdout.replace("all of it: its DAG run was deleted", GONE)
    assert cli("gc", "--no-deleted-runs").stdout.startswith("deleted: 0 blobs of 0 scatters")
    (gone,) = said(cli("gc", "--json"), shapes.Swept).collected
    assert (gone.scatter, gone.whole, gone.run_deleted) == (deleted.uid, True, True)
    assert book.find(deleted.row.name) is None
    assert {one.uid for one in book.scatters() if one.state != "replaced"} == {kept.uid, running.uid}


def test_the_only_run_of_a_known_dag_may_be_deleted(cli: Cli, book: Ledger, airflow: Path) -> None:
    hold(airflow, ["etl"])
    deleted = ended(book, "deleted")
    assert [one.scatter for one in said(cli("gc", "--json"), shapes.Swept).collected] == [deleted.uid]


def test_an_airflow_that_knows_none_of_it_is_another_one(cli: Cli, book: Ledger, airflow: Path) -> None:
    ended(book, "theirs")
    assert GONE not in cli("ls").stdout
    assert said(cli("gc", "--json"), shapes.Swept).collected == []


def test_what_airflow_does_not_answer_is_not_known(cli: Cli, book: Ledger, airflow: Path) -> None:
    ended(book, "deleted")
    airflow.write_text("no database")
    told = cli("ls")
    assert GONE not in told.stdout
    assert "whether their DAG runs still exist is not known" in told.stderr
    assert said(cli("gc", "--json"), shapes.Swept).collected == []
    airflow.unlink()
    assert cli("ls").exit_code == 0
    assert not airflow.exists()


def test_what_airflow_tasks_test_has_left_is_taken_without_asking(cli: Cli, book: Ledger) -> None:
    left = ended(book, f"{TEMPORARY}2026-11-27T09:00:00+00:00__")
    at_work = ended(book, f"{TEMPORARY}2026-11-27T09:01:00+00:00__", state="running")
    assert [one.scatter for one in said(cli("gc", "--json"), shapes.Swept).collected] == [left.uid]
    assert book.scatter(at_work.uid).state == "running"


class Api(BaseHTTPRequestHandler):
    """Airflow's API: it has the DAG etl, and of it the run "kept"."""

    there = ("/api/v2/dags/etl", "/api/v2/dags/etl/dagRuns/kept")

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Bearer token"
        self.send_response(200 if known and self.path in self.there else 404 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"dag_id": "etl"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AIRFLOW_API_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AIRFLOW_API_TOKEN", "token")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("api")
def test_airflows_api_is_asked_where_there_is_a_login(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ended(book, run, dag).row for run, dag in (("kept", "etl"), ("deleted", "etl"))]
    assert runs.of_deleted_runs(book, rows) == {rows[1].uid}
    assert runs.of_deleted_runs(book, rows[1:]) == {rows[1].uid}
    assert runs.of_deleted_runs(book, [ended(book, "theirs", "other").row]) == set()
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "another")
    assert runs.of_deleted_runs(book, rows) == set()
