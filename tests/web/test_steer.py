"""Controls reach the ledger, and a redrive runs through Airflow itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from manifold.airflow.decorator import scatter
from manifold.ledger import Ledger, open_ledger
from manifold.web import deployment
from tests.airflow.runs import Run, run
from tests.ledger import made
from tests.web.conftest import Login, TestClient, airflow_scatter, get, post

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "cancel"])
def test_a_request_is_written_down_for_the_coordinator(admin: TestClient, book: Ledger, verb: str) -> None:
    claim = airflow_scatter(book)
    told = post(admin, f"/scatters/{claim.uid}/controls", {"verb": verb})
    assert (told["done"], told["coordinator"]) == (False, "coordinator 1")
    assert f"coordinator 1 will {verb} it" in told["text"]
    assert [(one.verb, one.by_whom) for one in book.pending_controls(claim.uid)] == [(verb, "admin")]


def test_settings_reach_the_ledger_as_they_are(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    value = {"max_concurrency": 3, "rate_limit": None, "tolerate": "2%"}
    post(admin, f"/scatters/{claim.uid}/controls", {"verb": "set", "value": value})
    (request,) = get(admin, f"/scatters/{claim.uid}")["control_requests"]
    assert (request["verb"], request["value"], request["by_whom"]) == ("set", value, "admin")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"verb": "explode"}, "verb"),
        ({"verb": "pause", "value": {"x": 1}}, "at most 0 items"),
        ({"verb": "set"}, "value"),
        ({"verb": "set", "value": {}}, "name what is to change"),
        ({"verb": "set", "value": {"tolerate": "101%"}}, "tolerate"),
        ({"verb": "set", "value": {"chunk_size": 1}}, "chunk_size"),
        ({"verb": "set", "value": {"rate_limit": -1}}, "greater than 0"),
        ({"verb": "pause", "more": 1}, "more"),
    ],
)
def test_a_request_without_sense_is_refused_and_not_written(
    admin: TestClient, book: Ledger, body: dict[str, Any], told: str
) -> None:
    claim = airflow_scatter(book)
    assert told in str(post(admin, f"/scatters/{claim.uid}/controls", body, 422)["detail"])
    assert book.pending_controls(claim.uid) == []


def test_what_nobody_runs_is_cancelled_at_once_and_stays_its_tasks(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    claim.release()
    told = post(admin, f"/scatters/{claim.uid}/controls", {"verb": "cancel"})
    assert told["done"] is True
    shown = get(admin, f"/scatters/{claim.uid}")
    assert (shown["state"], shown["task"]["dag_id"]) == ("cancelled", "etl")
    assert "cancelled by admin" in shown["message"]


def test_what_has_ended_cannot_be_controlled(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    claim.end("failed", "so be it")
    assert "nothing to pause" in post(admin, f"/scatters/{claim.uid}/controls", {"verb": "pause"}, 409)["detail"]


def test_a_scatter_that_runs_is_not_redriven(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    made.done(claim, 0, "of")
    assert "being run by coordinator 1" in post(admin, f"/scatters/{claim.uid}/redrive", {}, 409)["detail"]


def test_a_scatter_of_plain_python_is_redriven_by_the_command_line(admin: TestClient, book: Ledger) -> None:
    claim = book.acquire(book.create(made.new("notebook")).uid, made.owner())
    made.done(claim, 0, "of")
    claim.end("failed", "x")
    assert "manifold redrive" in post(admin, f"/scatters/{claim.uid}/redrive", {}, 409)["detail"]


def test_a_redrive_of_a_task_that_is_gone_leaves_no_request(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, run="deleted")
    made.done(claim, 0, "of")
    claim.end("failed", "x")
    assert "deleted" in post(admin, f"/scatters/{claim.uid}/redrive", {}, 404)["detail"]
    assert book.pending_controls(claim.uid) == []


# -- through Airflow ---------------------------------------------------------------------------------------------------


class Picky:
    """Fails items by two kinds of errors, as long as a file is not there; notes each item that runs."""

    def __init__(self, folder: Path) -> None:
        self.fixed = folder / "fixed"
        self.notes = folder / "notes"

    def __call__(self, n: int) -> int:
        with self.notes.open("a") as file:
            file.write(f"{n}\n")
        if not self.fixed.exists():
            if n % 10 == 3:
                raise ValueError(f"no {n}")
            if n % 10 == 7:
                raise KeyError(n)
        return n

    def ran(self) -> list[int]:
        found = sorted(map(int, self.notes.read_text().split()))
        self.notes.unlink()
        return found


@pytest.fixture
def home(airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger of Airflow's home, which its tasks and the page find by Airflow's configuration."""
    for name in ("MANIFOLD_LEDGER", "MANIFOLD_STORE", "MANIFOLD_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(airflow_db / "manifold"))
    deployment.close()
    ledger = open_ledger(f"sqlite:///{airflow_db}/manifold/ledger.db")
    yield ledger
    ledger.close()
    deployment.close()


def failed_run(name: str, picky: Picky) -> tuple[Run, str]:
    """A DAG run whose scatter ended with four failed items out of twenty; its uid."""
    with DAG(name, schedule=None, default_args={"engine": "threads://2", "retry_delay": timedelta(0)}) as dag:
        scatter(task_id="pick", tolerate="100%", chunk_size=5)(picky.__call__).over(n=range(20))
    done = run(dag)
    return done, done.output("pick").uid


@pytest.mark.parametrize(
    ("chosen", "again"),
    [("all", [3, 7, 13, 17]), ("kind", [3, 13]), ("positions", [7, 13])],
)
def test_a_redrive_clears_the_task_and_its_next_try_runs_what_was_chosen(
    login: Login, home: Ledger, tmp_path: Path, chosen: str, again: list[int]
) -> None:
    picky = Picky(tmp_path)
    done, uid = failed_run(f"redriven_{chosen}", picky)
    assert picky.ran() == list(range(20))
    admin = login("admin")
    body: dict[str, Any] = {}
    if chosen == "kind":
        kinds = get(admin, f"/scatters/{uid}/errors")["kinds"]
        body = {"fingerprint": next(one["fingerprint"] for one in kinds if one["type"] == "ValueError")}
    elif chosen == "positions":
        body = {"positions": again}
    picky.fixed.touch()
    told = post(admin, f"/scatters/{uid}/redrive", body, 200)
    assert told == {"items": len(again), "cleared": ["pick"]}
    assert done.state("pick") in ("None", "scheduled", "queued")
    done.again("pick")
    assert picky.ran() == again
    shown = get(admin, f"/scatters/{uid}")
    assert (shown["state"], shown["counts"]["failed"]) == ("succeeded", 4 - len(again))
    assert shown["url"] == f"/dags/redriven_{chosen}/runs/{_quoted(done)}/tasks/pick"


def cut_run(name: str, picky: Picky, *, asked: str = "cancel") -> tuple[Run, str]:
    """A DAG run whose scatter was cancelled half-way: failed items, and some that never ran; its uid."""

    def cancels(n: int) -> int:
        value = picky(n)
        if n == 9 and not picky.fixed.exists():
            ledger = deployment.ledger()
            (row,) = ledger.scatters(name_like=f"{name}/")
            ledger.control(row.uid, asked, {}, "ann")
            time.sleep(2)  # until the coordinator has seen it
        return value

    with DAG(name, schedule=None, default_args={"engine": "threads://1", "retry_delay": timedelta(0)}) as dag:
        scatter(task_id="pick", tolerate="100%", chunk_size=1, max_concurrency=1)(cancels).over(n=range(20))
    done = run(dag)
    (row,) = deployment.ledger().scatters(name_like=f"{name}/")
    return done, row.uid


@pytest.mark.parametrize("chosen", ["failed", "missing", "everything"])
def test_after_a_cancel_what_runs_again_is_what_was_promised(
    login: Login, home: Ledger, tmp_path: Path, chosen: str
) -> None:
    picky = Picky(tmp_path)
    done, uid = cut_run(f"cut_{chosen}", picky)
    assert done.state("pick") == "failed"
    assert home.scatter(uid).state == "cancelled"
    ran, admin = picky.ran(), login("admin")
    failed = [pos for pos in ran if pos % 10 in (3, 7)]
    missing = sorted(set(range(20)) - {one for chunk in home.chunks(uid) for one in range(chunk.start, chunk.stop)})
    assert failed
    assert missing
    expected = {"failed": failed, "missing": sorted([*failed, *missing]), "everything": list(range(20))}[chosen]
    picky.fixed.touch()
    told = post(admin, f"/scatters/{uid}/redrive", {} if chosen == "failed" else {chosen: True}, 200)
    assert told["items"] == len(expected)
    done.again("pick")
    assert picky.ran() == expected
    (row,) = [one for one in home.scatters(name_like=f"cut_{chosen}/") if one.state != "replaced"]
    assert (row.n_failed, row.state) == (0, "cancelled" if chosen == "failed" else "succeeded")
    assert (row.uid == uid) is (chosen != "everything")


def test_a_viewer_clears_nothing(login: Login, home: Ledger, tmp_path: Path) -> None:
    done, uid = failed_run("not_redriven", Picky(tmp_path))
    post(login("viewer"), f"/scatters/{uid}/redrive", {}, 403)
    assert done.state("pick") == "success"
    assert home.pending_controls(uid) == []


def test_nothing_that_is_not_failed_is_run_again(login: Login, home: Ledger, tmp_path: Path) -> None:
    done, uid = failed_run("nothing_to_redrive", Picky(tmp_path))
    for body in ({"positions": [4]}, {"fingerprint": "nonsense"}):
        assert "nothing to run again" in post(login("admin"), f"/scatters/{uid}/redrive", body, 409)["detail"]
    post(login("admin"), f"/scatters/{uid}/redrive", {"positions": [3], "fingerprint": "x"}, 422)
    assert done.state("pick") == "success"


def test_the_button_of_the_task_leads_to_the_scatters_tab(home: Ledger, tmp_path: Path) -> None:
    done, _ = failed_run("linked", Picky(tmp_path))
    link = done.task("pick").xcom_pull(task_ids="pick", key="_link_ScatterLink")
    assert str(link).endswith(f"/dags/linked/runs/{_quoted(done)}/tasks/pick/plugin/scatter")


def _quoted(done: Run) -> str:
    from urllib.parse import quote

    return quote(done.dagrun.run_id, safe="")
