"""The metrics at the api-server: only where somebody has switched them on."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from manifold.ledger import Ledger
from manifold.web.app import app
from tests.web.conftest import TestClient, airflow_scatter

pytestmark = pytest.mark.filterwarnings("default")


def fresh() -> FastAPI:
    """The sub-app as a new process makes it."""
    return app.__wrapped__()


def test_they_are_not_there_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MANIFOLD_METRICS", raising=False)
    assert TestClient(fresh()).get("/metrics").status_code == 404


def test_they_are_those_of_the_exporter(book: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_METRICS", "on")
    airflow_scatter(book)
    answer = TestClient(fresh()).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'manifold_scatters{state="running"} 1.0' in answer.text
