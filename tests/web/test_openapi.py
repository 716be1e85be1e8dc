"""The API keeps to what its own description says, whatever it is asked."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from manifold.ledger import Ledger
from tests.ledger import made
from tests.web.conftest import API, Login, airflow_scatter, get

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

VIEWS = ("", "/rate", "/map", "/timeline", "/errors", "/failures", "/failures.jsonl", "/failures/{pos}")
EXAMPLES = 20

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def uid(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> str:
    """A scatter that requests for any scatter are about."""
    from manifold.web import deployment

    monkeypatch.setenv("MANIFOLD_LEDGER", sqlite_ledger.database.engine.url.render_as_string(hide_password=False))
    deployment.close()
    claim = airflow_scatter(sqlite_ledger, total=100)
    made.done(claim, 0, "oofso")
    made.sent(claim, 5, 20)
    monkeypatch.setattr("manifold.web.deployment.PATIENCE", 1.0)
    return claim.uid


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/api/scatters/{{uid}}{view}") for view in VIEWS),
        ("GET", "/api/scatters"),
        ("POST", "/api/scatters/{uid}/controls"),
        ("POST", "/api/scatters/{uid}/redrive"),
    ],
)
def test_each_operation_answers_as_it_is_described(method: str, path: str, server: Any, uid: str, login: Login) -> None:
    operation = schemathesis.openapi.from_asgi(f"{API}/openapi.json", server)[path][method]
    token = login("admin").cookies["_token"]

    @given(case=operation.as_strategy())
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def answers(case: Any) -> None:
        if re.fullmatch("[0-9a-f]{32}", str(case.path_parameters.get("uid"))):
            case.path_parameters["uid"] = uid
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"})

    answers()


def test_no_operation_is_left_out(login: Login) -> None:
    assert len(get(login(""), "/openapi.json")["paths"]) == len(VIEWS) + 3


def test_every_operation_is_documented_and_typed(login: Login) -> None:
    found = get(login(""), "/openapi.json")
    for path, operations in found["paths"].items():
        assert path.startswith("/api/scatters")
        for method, operation in operations.items():
            assert operation["description"], path
            assert method in ("get", "post")
            assert {"401", "403", "404", "503"} <= operation["responses"].keys()
