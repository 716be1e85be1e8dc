"""`manifold redrive` of an Airflow task's scatter: a request in the ledger, and the task cleared by Airflow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from manifold.cli import shapes
from manifold.cli.context import find
from manifold.coordinator.spec import ScatterSpec
from manifold.coordinator.start import run
from manifold.engines.open import open_engine
from manifold.errors import ManifoldError
from manifold.ledger import Ledger, Owner, scatter_name
from manifold.policy import Policy
from manifold.sources import as_source
from manifold.stores import open_store
from tests.cli.conftest import Cli, said

NAME = scatter_name("flights", "manual__2026-11-20T10:00:00+00:00", "delay", -1)
PATH = "/api/v2/dags/flights/clearTaskInstances"


class Airflow(ThreadingHTTPServer):
    """Answers as Airflow's API does, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []
        self.refusal = 0
        self.instances = [{"task_id": "delay", "map_index": -1}, {"task_id": "report", "map_index": -1}]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Airflow

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        answer: dict[str, Any] = {"task_instances": self.server.instances, "total_entries": 2}
        status = self.server.refusal or 200
        if self.path == "/auth/token":
            status = 201 if body == {"username": "me", "password": "mine"} else 401
            answer = {"access_token": "fresh"}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    with Airflow() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def task(book: Ledger) -> str:
    """The uid of a scatter of an Airflow task, with one item failed by ValueError and one by TypeError."""
    with open_engine("threads://1") as engine:
        return run(
            ScatterSpec(
                fn=int,
                source=as_source(["1", "x", None, "4"]),
                name=NAME,
                engine_url="threads://1",
                policy=Policy(tolerate=2),
            ),
            ledger=book,
            store=open_store(),
            engine=engine,
            owner=Owner.here("airflow", claim_key=NAME, claim_no=1),
        ).uid


def test_the_task_is_cleared_and_its_next_try_is_told(
    cli: Cli, book: Ledger, task: str, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "mine")
    done = said(cli("redrive", task, "--api-url", airflow.url, "--json"), shapes.Redriven)
    assert (done.where, done.items, done.cleared, done.result) == ("airflow", 2, ["delay", "report"], None)
    asked = {
        "dag_run_id": "manual__2026-11-20T10:00:00+00:00",
        "task_ids": ["delay"],
        "only_failed": False,
        "include_downstream": True,
        "reset_dag_runs": True,
    }
    assert airflow.asked == [
        (PATH, "Bearer mine", asked | {"dry_run": True}),
        (PATH, "Bearer mine", asked | {"dry_run": False}),
    ]
    (request,) = book.pending_controls(task)
    assert (request.verb, request.value) == ("redrive", {})
    row = book.scatter(task)
    assert (row.n_failed, row.epoch) == (2, 1), "nothing of it may run here"


def test_the_next_try_runs_only_the_kind_of_error_that_was_asked_for(
    cli: Cli, book: Ledger, task: str, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "mine")
    assert cli("redrive", task, "--only-error", "TypeError", "--api-url", airflow.url).exit_code == 0
    with open_engine("threads://1") as engine:
        again = ScatterSpec(
            fn=lambda _: 0,
            source=as_source(["1", "x", None, "4"]),
            name=NAME,
            engine_url="threads://1",
            policy=Policy(tolerate=2),
            mode="redrive",
        )
        results = run(
            again,
            ledger=book,
            store=open_store(),
            engine=engine,
            owner=Owner.here("airflow", claim_key=NAME, claim_no=2),
        )
    assert list(results.pairs()) == [(0, 1), (2, 0), (3, 4)]
    assert book.pending_controls(task) == []


def test_a_login_is_made_where_there_is_no_token(
    cli: Cli, task: str, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_API_URL", airflow.url)
    monkeypatch.setenv("AIRFLOW_API_USER", "me")
    monkeypatch.setenv("AIRFLOW_API_PASSWORD", "mine")
    result = cli("redrive", task)
    assert result.exit_code == 0, result.output
    assert "will run again: 2 failed items; cleared: delay, report" in result.stdout
    assert [path for path, _, _ in airflow.asked] == ["/auth/token", PATH, PATH]
    assert airflow.asked[-1][1] == "Bearer fresh"


def test_what_the_dag_decides_cannot_be_given(cli: Cli, book: Ledger, task: str) -> None:
    result = cli("redrive", task, "--function", "math:sqrt", "--items", "range:4")
    assert result.exit_code == 2
    assert "takes function, items and engine from its DAG: leave out --function and --items" in result.stderr
    assert book.pending_controls(task) == []


def test_a_mapped_task_instance_is_cleared_alone(cli: Cli, airflow: Airflow) -> None:
    from manifold.cli.airflow_api import Api

    airflow.instances = [{"task_id": "delay", "map_index": 3}]
    assert Api(airflow.url, "mine").clear(("flights", "run/1", "delay", 3)) == ["delay[3]"]
    assert airflow.asked[0][2]["task_ids"] == [["delay", 3]]


def test_whoever_may_not_clear_the_task_leaves_no_request(
    cli: Cli, book: Ledger, task: str, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "a viewer's")
    airflow.refusal = 403
    result = cli("redrive", task, "--api-url", airflow.url)
    assert result.exit_code == 4
    assert "status 403: this login may not do that" in result.stderr
    assert "viewer" not in result.stderr
    assert book.pending_controls(task) == []


def test_a_run_that_airflow_does_not_know_leaves_no_request(
    cli: Cli, book: Ledger, task: str, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "mine")
    airflow.instances = []
    result = cli("redrive", task, "--api-url", airflow.url)
    assert result.exit_code == 4
    assert "has no task 'delay' in the run" in result.stderr
    assert book.pending_controls(task) == []


def test_without_a_login_it_says_what_to_click(cli: Cli, book: Ledger, task: str) -> None:
    for _ in range(2):
        result = cli("redrive", task)
        assert result.exit_code == 4
        assert "press Clear Task Instance" in result.stderr
        assert "AIRFLOW_API_TOKEN" in result.stderr
    assert len(book.pending_controls(task)) == 1


def test_an_api_that_does_not_answer_is_named(cli: Cli, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_API_TOKEN", "mine")
    with Airflow() as gone:
        url = gone.url
    result = cli("redrive", task, "--api-url", url)
    assert result.exit_code == 4
    assert f"no Airflow API answers at {url}" in result.stderr
    assert cli("redrive", task, "--api-url", "ftp://host").exit_code == 2


def test_a_dry_run_writes_no_request(cli: Cli, book: Ledger, task: str) -> None:
    result = cli("redrive", task, "--dry-run")
    assert result.exit_code == 0
    assert "by Airflow, which the task is cleared for" in result.stdout
    assert book.pending_controls(task) == []


def test_the_names_of_the_task_find_it(book: Ledger, task: str) -> None:
    assert find(book, "flights/manual__2026-11-20T10:00:00+00:00/delay").uid == task
    with pytest.raises(ManifoldError, match="has no scatter"):
        find(book, "flights/manual__2026-11-20T10:00:00+00:00/report")
