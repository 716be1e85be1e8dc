"""Scatters whose DAG run was deleted in Airflow, and scatters of the deployment itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType
from sqlalchemy import delete

from manifold.ledger import Ledger
from tests.ledger import made
from tests.web.conftest import API, TestClient, airflow_scatter, get

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]

GONE = "its DAG run was deleted in Airflow"


@pytest.fixture
def airflow_run(dags: None) -> Callable[[str], None]:
    """Makes a DAG run of `etl`."""

    def make(run_id: str) -> None:
        with create_session() as session:
            session.execute(delete(DagRun).where(DagRun.dag_id == "etl", DagRun.run_id == run_id))
            session.add(DagRun(dag_id="etl", run_id=run_id, run_type=DagRunType.MANUAL))

    return make


def test_a_scatter_whose_run_was_deleted_says_so_at_once(
    admin: TestClient, book: Ledger, airflow_run: Callable[[str], None]
) -> None:
    airflow_run("goes")
    claim = airflow_scatter(book, run="goes", total=1)
    claim.end("cancelled", "enough")
    (one,) = get(admin, "/scatters")["scatters"]
    assert (one["run_deleted"], one["message"]) == (False, "enough")
    detail = f"{API}/scatters/{claim.uid}"
    etags = {path: admin.get(path).headers["etag"] for path in (detail, f"{API}/scatters")}
    for path, etag in etags.items():
        assert admin.get(path, headers={"If-None-Match": etag}).status_code == 304
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == "etl", DagRun.run_id == "goes"))
    for path, etag in etags.items():
        assert admin.get(path, headers={"If-None-Match": etag}).status_code == 200, path
    (one,) = get(admin, "/scatters")["scatters"]
    for told in (one, get(admin, f"/scatters/{claim.uid}")):
        assert (told["run_deleted"], told["state"]) == (True, "cancelled")
        assert told["message"] == f"{GONE}; enough"


def test_a_scatter_of_plain_python_has_no_run(admin: TestClient, book: Ledger) -> None:
    made.claimed(book, "etl/goes/fetch/-1")
    (one,) = get(admin, "/scatters")["scatters"]
    assert (one["run_deleted"], one["message"]) == (False, None)


def test_scatters_of_the_deployment_itself_are_listed_when_asked_for(admin: TestClient, book: Ledger) -> None:
    made.claimed(book, "mine")
    health = made.claimed(book, "cluster_health/threads://2", system=True)

    def names(**asked: Any) -> set[str]:
        found = get(admin, "/scatters", **asked)
        assert found["total"] == len(found["scatters"])
        return {one["name"] for one in found["scatters"]}

    assert names() == {"mine"}
    assert names(system=True) == {"mine", "cluster_health/threads://2"}
    assert names(search=health.uid) == {"cluster_health/threads://2"}
    assert get(admin, f"/scatters/{health.uid}")["name"] == "cluster_health/threads://2"
