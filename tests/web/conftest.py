"""Airflow's own app with the page mounted, on a real metadata database, and people who log in."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manifold.ledger import Claim, Ledger
from manifold.web import deployment
from manifold.web.cache import remembered

# Makes Airflow's home before anything imports Airflow.
from tests.airflow.conftest import HOME, airflow_db
from tests.ledger import made

with warnings.catch_warnings():  # it wants another client, which is in nobody's requirements yet
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

__all__ = ["TestClient", "airflow_db"]

PEOPLE = {"admin": "admin", "viewer": "viewer", "stranger": "viewer"}
API = "/manifold/api"

Login = Callable[[str], TestClient]


@pytest.fixture(scope="session")
def server(airflow_db: Path) -> Iterator[Any]:
    """Airflow's app, with all its plugins."""
    passwords = HOME / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in PEOPLE}))
    with pytest.MonkeyPatch.context() as patch:
        options = {
            "CORE__AUTH_MANAGER": "tests.web.guarded.GuardedAuthManager",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in PEOPLE.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "API_AUTH__JWT_SECRET": "for tests only, and long enough for the algorithm" * 2,
            "API__SECRET_KEY": "for tests only",
        }
        for name, value in options.items():
            patch.setenv(f"AIRFLOW__{name}", value)
        from airflow.api_fastapi.app import create_app, purge_cached_app

        purge_cached_app()
        with TestClient(create_app(apps="core"), raise_server_exceptions=False) as client:
            yield client.app
        purge_cached_app()


@pytest.fixture
def book(ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the page reads, once in each kind of database."""
    monkeypatch.setenv("MANIFOLD_LEDGER", ledger_url)
    monkeypatch.setattr("manifold.airflow.configuration.single_host", lambda: True)
    remembered.clear()
    deployment.close()
    yield ledger
    deployment.close()


@pytest.fixture
def login(server: Any) -> Login:
    """A browser of its own for one of PEOPLE; "" is nobody."""

    def as_(name: str) -> TestClient:
        client = TestClient(server, raise_server_exceptions=False)
        if name:
            answer = client.post("/auth/token", json={"username": name, "password": name})
            assert answer.status_code == 201, answer.text
            client.cookies.set("_token", answer.json()["access_token"])
        return client

    return as_


@pytest.fixture
def admin(login: Login, book: Ledger) -> TestClient:
    return login("admin")


@pytest.fixture
def dags(airflow_db: Path) -> None:
    """The DAGs that the tests' scatters are of."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG

    bag = DagBag(os.devnull, bundle_path=Path(os.devnull))
    for name in ("etl", "payroll"):
        bag.bag_dag(DAG(name, schedule=None))
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(bag, "dags-folder", None)


def airflow_scatter(
    ledger: Ledger, dag: str = "etl", run: str = "manual__1", task: str = "fetch", index: int = -1, **changes: Any
) -> Claim:
    """A running scatter of an Airflow task."""
    from manifold.ledger import scatter_name

    name = scatter_name(dag, run, task, index)
    uid = ledger.create(made.new(name, **changes)).uid
    return ledger.acquire(uid, made.owner(claim_key=name, claim_no=1))


def get(client: TestClient, path: str, code: int = 200, **params: Any) -> Any:
    """What the API answers to a GET."""
    answer = client.get(f"{API}{path}", params=params or None)
    assert answer.status_code == code, answer.text
    return answer.json()


def post(client: TestClient, path: str, body: Any, code: int = 202) -> Any:
    """What the API answers to a POST."""
    answer = client.post(f"{API}{path}", json=body)
    assert answer.status_code == code, answer.text
    return answer.json()
