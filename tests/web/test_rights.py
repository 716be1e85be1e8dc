"""Airflow's own rights: an admin, a viewer, somebody who may not see one of the DAGs, and nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.models.log import Log
from airflow.utils.session import create_session
from sqlalchemy import select

from manifold.ledger import Ledger
from tests.ledger import made
from tests.web.conftest import API, Login, airflow_scatter, get, post
from tests.web.guarded import SECRET, STRANGER

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]

READS = ("", "/rate", "/map", "/timeline", "/errors", "/failures", "/failures.jsonl", "/failures/1")
CONTROLS: dict[str, Any] = {"pause": {}, "resume": {}, "drain": {}, "set": {"max_concurrency": 2}, "cancel": {}}


def log_of(uid: str) -> list[Log]:
    with create_session() as session:
        asked = select(Log).where(Log.event.startswith("manifold."), Log.extra.contains(uid)).order_by(Log.id)
        return list(session.scalars(asked))


@pytest.mark.parametrize("path", ["/scatters", *(f"/scatters/{'0' * 32}{view}" for view in READS)])
def test_nobody_sees_anything_without_a_login(login: Login, book: Ledger, path: str) -> None:
    assert get(login(""), path, 401)["detail"] == "Not authenticated"


def test_nobody_does_anything_without_a_login(login: Login, book: Ledger) -> None:
    claim = airflow_scatter(book)
    post(login(""), f"/scatters/{claim.uid}/controls", {"verb": "pause"}, 401)
    post(login(""), f"/scatters/{claim.uid}/redrive", {}, 401)
    assert book.pending_controls(claim.uid) == []
    assert log_of(claim.uid) == []


def test_who_may_not_read_a_dag_sees_none_of_its_scatters(login: Login, book: Ledger) -> None:
    hidden = airflow_scatter(book, dag=SECRET)
    made.done(hidden, 0, "of")
    shown = airflow_scatter(book, dag="etl")
    plain = book.acquire(book.create(made.new("notebook")).uid, made.owner())
    told = get(login(STRANGER), "/scatters")
    assert ([one["uid"] for one in told["scatters"]], told["total"]) == ([shown.uid], 1)
    for view in READS:
        get(login(STRANGER), f"/scatters/{hidden.uid}{view}", 403)
    get(login(STRANGER), f"/scatters/{plain.uid}", 403)
    post(login(STRANGER), f"/scatters/{hidden.uid}/controls", {"verb": "pause"}, 403)
    assert get(login("viewer"), "/scatters")["total"] == 3


def test_tracebacks_and_lines_are_for_those_who_may_read_logs(login: Login, book: Ledger) -> None:
    claim = airflow_scatter(book)
    made.done(claim, 0, "of")
    path = f"/scatters/{claim.uid}"
    assert get(login("viewer"), f"{path}/errors")["kinds"][0]["traceback"] == "Traceback of boom"
    (kind,) = get(login(STRANGER), f"{path}/errors")["kinds"]
    assert (kind["traceback"], kind["count"]) == ("", 1)
    item = get(login(STRANGER), f"{path}/failures/1")
    assert (item["traceback"], item["lines"], item["message"]) == ("", [], "boom at 1")
    assert "may not read the logs" in item["note"]
    get(login(STRANGER), f"{path}/failures.jsonl", 403)


@pytest.mark.parametrize("verb", CONTROLS)
def test_a_viewer_sees_everything_and_steers_nothing(login: Login, book: Ledger, verb: str) -> None:
    claim = airflow_scatter(book)
    viewer = login("viewer")
    assert get(viewer, f"/scatters/{claim.uid}")["may"] == {"steer": False}
    refused = post(viewer, f"/scatters/{claim.uid}/controls", {"verb": verb, "value": CONTROLS[verb]}, 403)
    assert refused["detail"] == "viewer may not change task instances of etl"
    post(viewer, f"/scatters/{claim.uid}/redrive", {}, 403)
    assert book.pending_controls(claim.uid) == []
    assert book.scatter(claim.uid).state == "running"


def test_each_action_and_each_attempt_is_in_airflows_audit_log(login: Login, book: Ledger) -> None:
    claim = airflow_scatter(book, run="r 1", index=2)
    post(login("admin"), f"/scatters/{claim.uid}/controls", {"verb": "set", "value": {"tolerate": "2%"}})
    post(login("viewer"), f"/scatters/{claim.uid}/controls", {"verb": "cancel"}, 403)
    done, refused = log_of(claim.uid)
    assert (done.event, done.owner, done.dag_id, done.run_id) == ("manifold.set", "admin", "etl", "r 1")
    assert (done.task_id, done.map_index) == ("fetch", 2)
    assert json.loads(done.extra or "") == {"scatter": claim.uid, "tolerate": "2%"}
    assert (refused.event, refused.owner) == ("manifold.cancel", "viewer")
    assert json.loads(refused.extra or "") == {"scatter": claim.uid, "refused": True}


@pytest.mark.parametrize("path", ["controls", "redrive"])
def test_nothing_is_changed_by_get(login: Login, book: Ledger, path: str) -> None:
    claim = airflow_scatter(book)
    assert login("admin").get(f"{API}/scatters/{claim.uid}/{path}").status_code == 405


def test_a_bearer_token_is_as_good_as_the_cookie(login: Login, book: Ledger) -> None:
    token = login("viewer").cookies["_token"]
    answer = login("").get(f"{API}/scatters", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
