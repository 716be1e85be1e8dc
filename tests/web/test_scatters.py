"""The list of scatters, and one of them: every figure as the ledger has it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import OperationalError

from manifold.ledger import Ledger, Owner
from manifold.ledger.tables import scatter, scatter_try
from manifold.policy import Tolerance
from manifold.protocol.records import WorkerInfo
from manifold.web import deployment
from tests.ledger import made
from tests.web.conftest import TestClient, airflow_scatter, get

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]


def names(client: TestClient, **asked: Any) -> list[str]:
    return [one["name"] for one in get(client, "/scatters", **asked)["scatters"]]


def test_the_list_tells_of_each_scatter(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, run="scheduled__2026-11-25T00:00:00+00:00", total=20)
    made.done(claim, 0, "ooofs")
    made.sent(claim, 5, 10)
    told = get(admin, "/scatters")
    assert told["total"] == 1
    (one,) = told["scatters"]
    assert one["task"] == {
        "dag_id": "etl",
        "run_id": "scheduled__2026-11-25T00:00:00+00:00",
        "task_id": "fetch",
        "map_index": -1,
    }
    assert one["state"] == "running"
    assert one["counts"] == {
        "succeeded": 3,
        "failed": 1,
        "skipped": 1,
        "running": 5,
        "pending": 10,
        "total": 20,
        "total_is_estimate": False,
    }
    assert one["url"] == "/dags/etl/runs/scheduled__2026-11-25T00%3A00%3A00%2B00%3A00/tasks/fetch"


def test_the_list_is_filtered_sorted_and_paged_by_the_database(admin: TestClient, book: Ledger) -> None:
    first = airflow_scatter(book, run="a", task="fetch", engine="celery://manifold")
    made.done(first, 0, "off")
    second = airflow_scatter(book, run="b", task="fetch_more")
    made.done(second, 0, "oof")
    third = airflow_scatter(book, dag="payroll", run="a", index=3)
    third.end("cancelled", "enough")
    book.acquire(book.create(made.new("notebook")).uid, made.owner())
    made.new("never claimed")
    everything = ["etl/a/fetch/-1", "etl/b/fetch_more/-1", "payroll/a/fetch/3", "notebook"]
    assert sorted(names(admin)) == sorted(everything)
    assert names(admin, sort="name") == sorted(everything)
    assert names(admin, sort="-failed")[:2] == everything[:2]
    assert names(admin, sort="-created", limit=1, offset=1) == [everything[2]]
    assert get(admin, "/scatters", limit=1)["total"] == 4
    assert names(admin, state="cancelled") == [everything[2]]
    assert len(names(admin, state=["running", "cancelled"])) == 4
    assert names(admin, engine="CELERY") == [everything[0]]
    assert names(admin, search="more") == [everything[1]]
    assert names(admin, search=first.uid) == [everything[0]]
    assert names(admin, dag_id="etl", task_id="fetch") == [everything[0]]
    assert names(admin, run_id="a", sort="name") == [everything[0], everything[2]]
    assert names(admin, dag_id="payroll", run_id="a", task_id="fetch", map_index=3) == [everything[2]]
    assert names(admin, dag_id="e%l") == names(admin, task_id="fetch_mor_") == []


def test_a_search_finds_names_as_people_write_them(admin: TestClient, book: Ledger) -> None:
    airflow_scatter(book, run="manual__2026-11-25T10:00:00+00:00")
    assert len(names(admin, search="manual__2026-11-25T10:00")) == 1
    assert len(names(admin, search="etl/manual__")) == 1


def test_paused_draining_drained_and_stopped_are_told_apart_from_running(admin: TestClient, book: Ledger) -> None:
    running, paused, stopped, draining, drained = (airflow_scatter(book, run=name) for name in "abcde")
    book.control(paused.uid, "pause", by_whom="ann")
    stopped.release()
    book.control(draining.uid, "drain", by_whom="ann")
    drained.release(ending="drained", message="drained by ann")
    states = {one["uid"]: one["state"] for one in get(admin, "/scatters")["scatters"]}
    assert states == {
        running.uid: "running",
        paused.uid: "paused",
        stopped.uid: "stopped",
        draining.uid: "draining",
        drained.uid: "drained",
    }
    for state in ("stopped", "stalled"):  # the latter is what it was called before
        assert [one["uid"] for one in get(admin, "/scatters", state=state)["scatters"]] == [stopped.uid]
    assert get(admin, f"/scatters/{paused.uid}")["paused_by"] == "ann"
    book.control(paused.uid, "resume", by_whom="ann")
    assert get(admin, f"/scatters/{paused.uid}")["state"] == "running"


def test_one_scatter_is_told_with_all_its_figures(admin: TestClient, book: Ledger) -> None:
    policy = {"engine": "celery://me:secret@host/q", "tolerate": {"count": None, "share": 0.01}, "rate_limit": 5.0}
    claim = airflow_scatter(book, total=30, policy=policy, engine="celery://me:secret@host/q")
    made.done(claim, 0, "oooooooooo", seconds=5.0)
    made.done(claim, 10, "offf", worker="worker 2", kind="hiccup")
    made.sent(claim, 14, 20)
    lost = made.sent(claim, 20, 30)
    claim.died(lost.id, "worker 2")
    made.sent(claim, 20, 25, why="half")
    made.sent(claim, 25, 30, why="half")
    claim.commit(workers=[WorkerInfo("worker 1", "host 1", 7, 0.0, ("1", "2")), WorkerInfo("worker 2", "h", 8, 90.0)])
    number = book.control(claim.uid, "set", {"max_concurrency": 4}, by_whom="ann")
    claim.applied(number)
    book.control(claim.uid, "drain", by_whom="bob")
    told = get(admin, f"/scatters/{claim.uid}")
    assert told["counts"]["running"] == 16
    assert told["chunks"] == {"committed": 2, "in_flight": 3, "lost": 1, "speculative": 0}
    assert told["settings"] == {"max_concurrency": 4, "rate_limit": 5.0, "tolerate": "1%"}
    assert [(one["verb"], one["by_whom"]) for one in told["control_requests"]] == [("drain", "bob")]
    assert told["wishes"] == told["control_requests"], "the former name"
    assert told["coordinator"] == "coordinator 1"
    assert told["errors"] == [{"fingerprint": "hiccup", "type": "ValueError", "message": "hiccup at 11", "count": 3}]
    assert told["item_seconds"]["p90"] == 0.5
    first, second = told["workers"]
    assert (first["name"], first["alive"], first["busy"], first["items"]) == ("worker 1", True, 2, 10)
    assert (second["name"], second["alive"], second["items"]) == ("worker 2", False, 4)
    assert second["seconds_silent"] >= 90
    assert told["may"] == {"steer": True}
    assert "secret" not in str(told).replace("'secret'", "")


def test_a_scatter_that_ended_keeps_its_account_and_its_mean_rate(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=4)
    made.done(claim, 0, "ooof")
    claim.finish(Tolerance(count=1))
    told = get(admin, f"/scatters/{claim.uid}")
    assert (told["state"], told["coordinator"], told["seconds_left"]) == ("succeeded", None, None)
    assert told["rate"] == pytest.approx(4 / told["duration"])
    assert not any(one["alive"] for one in told["workers"])


def test_what_is_unknown_is_null_and_an_estimate_is_called_one(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    counts = get(admin, f"/scatters/{claim.uid}")["counts"]
    assert (counts["total"], counts["pending"]) == (None, None)
    claim.describe(expected=500)
    counts = get(admin, f"/scatters/{claim.uid}")["counts"]
    assert (counts["total"], counts["pending"], counts["total_is_estimate"]) == (500, 500, True)


def test_a_scatter_that_was_replaced_is_no_more(admin: TestClient, book: Ledger) -> None:
    old = airflow_scatter(book)
    old.fresh(made.new(old.row.name))
    assert "fresh start" in get(admin, f"/scatters/{old.uid}", 404)["detail"]
    assert get(admin, "/scatters")["total"] == 1


def test_a_scatter_that_nobody_claimed_is_nobodys(admin: TestClient, book: Ledger) -> None:
    row = book.create(made.new("etl/r/t/-1"))
    assert get(admin, "/scatters")["total"] == 0
    get(admin, f"/scatters/{row.uid}", 404)
    book.acquire(row.uid, Owner.here("somebody")).release()
    assert get(admin, f"/scatters/{row.uid}")["task"] is None


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/scatters/" + "0" * 32, 404),
        ("/scatters/xyz", 422),
        ("/scatters?limit=101", 422),
        ("/scatters?sort=shoe", 422),
        ("/scatters?state=replaced", 422),
        ("/scatters?offset=-1", 422),
    ],
)
def test_bad_values_are_refused_with_a_reason(admin: TestClient, path: str, code: int) -> None:
    assert get(admin, path, code)["detail"]


def test_a_ledger_that_does_not_answer_is_a_503_with_a_text_and_then_left_alone(
    admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.close()
    monkeypatch.setattr(deployment, "PATIENCE", 0.1)
    monkeypatch.setenv("MANIFOLD_LEDGER", "postgresql://me:hunter2@127.0.0.1:9/none")
    told = get(admin, "/scatters", 503)["detail"]
    assert "127.0.0.1:9" in told
    assert "hunter2" not in told
    monkeypatch.setattr(deployment, "_open", lambda: pytest.fail("it was asked again at once"))
    assert get(admin, "/scatters", 503)["detail"] == told


def test_a_ledger_that_comes_back_is_used_again(
    admin: TestClient, book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = airflow_scatter(book)
    get(admin, "/scatters")
    monkeypatch.setattr(deployment, "REST", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(deployment.ledger().database, "_once", _lost)
        assert "could not be used" in get(admin, f"/scatters/{claim.uid}", 503)["detail"]
    assert get(admin, f"/scatters/{claim.uid}")["uid"] == claim.uid


def _lost(*_: object) -> None:
    raise OperationalError("SELECT 1", {}, Exception("server closed the connection"), connection_invalidated=True)


def test_the_time_between_two_tries_is_not_part_of_what_it_took(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    claim.end("failed", "for now")
    again = book.acquire(claim.uid, made.owner(2, claim_key=claim.row.name, claim_no=2))
    again.end("failed", "again")

    def write(conn: Connection) -> None:
        """The first try took 30 s, a day ago; the second one 12 s."""
        for epoch, began, ended in ((1, 1000.0, 1030.0), (2, 90_000.0, 90_012.0)):
            here = (scatter_try.c.uid == claim.uid, scatter_try.c.epoch == epoch)
            conn.execute(update(scatter_try).where(*here).values(began_at=began, ended_at=ended))
        conn.execute(update(scatter).where(scatter.c.uid == claim.uid).values(created_at=1000.0, ended_at=90_012.0))

    book.database.write(write)
    assert get(admin, f"/scatters/{claim.uid}")["duration"] == 42.0
    assert get(admin, "/scatters")["scatters"][0]["duration"] == 42.0
