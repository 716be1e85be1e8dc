"""The list of scatters, and one of them: every figure as the ledger has it."""

from __future__ import annotations

import pytest

from manifold.ledger import Ledger
from tests.ledger import made
from tests.web.conftest import TestClient, airflow_scatter, get

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]


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
