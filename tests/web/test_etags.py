"""A poll costs one small query, and is answered with 304 until something has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from manifold.ledger import Ledger
from manifold.protocol.records import WorkerInfo
from manifold.web import deployment
from tests.ledger import made
from tests.web.conftest import API, Login, TestClient, airflow_scatter

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]

VIEWS = ("", "/rate", "/map", "/timeline", "/errors", "/failures")


@contextmanager
def queries() -> Iterator[list[str]]:
    """The SELECTs that the page sends to the ledger meanwhile."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    engine = deployment.ledger().database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("view", VIEWS)
def test_an_unchanged_scatter_costs_one_query(admin: TestClient, book: Ledger, view: str) -> None:
    claim = airflow_scatter(book, total=100)
    made.done(claim, 0, "oof")
    url = f"{API}/scatters/{claim.uid}{view}"
    etag = admin.get(url).headers["etag"]
    with queries() as seen:
        again = admin.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, len(seen)) == (304, b"", 1)


def test_every_change_of_a_scatter_gives_a_new_etag(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    attempt = made.planned(claim, 0, 10)
    changes: dict[str, Callable[[], object]] = {
        "a chunk is sent": lambda: claim.commit(attempts=[attempt]),
        "a chunk is committed": lambda: claim.commit([made.receipt(attempt, "oooof")]),
        "a worker is seen": lambda: claim.commit(workers=[WorkerInfo("w", "h", 1)]),
        "somebody asks for something": lambda: book.control(claim.uid, "pause", by_whom="ann"),
        "the request is applied": lambda: claim.applied(1),
        "a chunk is suspect": lambda: book.suspect(made.claim_rows(claim)[0]),
        "it ends": lambda: claim.end("failed", "so be it"),
    }
    etag = ""
    for what, change in changes.items():
        change()
        answer = admin.get(f"{API}/scatters/{claim.uid}", headers={"If-None-Match": etag})
        assert answer.status_code == 200, what
        etag = answer.headers["etag"]


def test_the_list_has_an_etag_too(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    etag = admin.get(f"{API}/scatters").headers["etag"]
    with queries() as seen:
        assert admin.get(f"{API}/scatters", headers={"If-None-Match": etag}).status_code == 304
    assert len(seen) <= 2
    made.done(claim, 0, "o")
    assert admin.get(f"{API}/scatters", headers={"If-None-Match": etag}).status_code == 200


def test_an_etag_is_of_one_view_and_one_set_of_rights(login: Login, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    admin, viewer = login("admin"), login("viewer")
    told = {admin.get(f"{API}/scatters/{claim.uid}{view}").headers["etag"] for view in VIEWS}
    told.add(admin.get(f"{API}/scatters/{claim.uid}/map?cells=3").headers["etag"])
    told.add(viewer.get(f"{API}/scatters/{claim.uid}").headers["etag"])
    assert len(told) == len(VIEWS) + 2
