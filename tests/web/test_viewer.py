"""A viewer of the page reads what a scatter tells of itself, and no password that its function was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.ledger import Ledger, open_ledger, scatter_name
from manifold.protocol.secrets import Secrets
from manifold.web import deployment
from tests.web.conftest import API, Login

pytestmark = pytest.mark.filterwarnings("default")

PASSWORD = "hunter2/hunter2-of-crm"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A home with ledger and store, which the page reads."""
    for name in ("MANIFOLD_LEDGER", "MANIFOLD_STORE", "MANIFOLD_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("manifold.airflow.configuration.single_host", lambda: True)
    given = Secrets({"AIRFLOW_CONN_CRM": PASSWORD}, [PASSWORD])
    monkeypatch.setattr("manifold.api.from_environment", lambda _: given)
    deployment.close()
    ledger = open_ledger()
    yield ledger
    ledger.close()
    deployment.close()


def log_in(n: int, pw: str) -> int:
    print("I log in with", pw)
    if n % 2:
        raise ConnectionError(f"no login with {pw!r}") from OSError(pw)
    return n


@pytest.mark.usefixtures("dags")
def test_a_viewer_reads_no_password_on_any_part_of_the_page(home: Ledger, login: Login) -> None:
    name = scatter_name("etl", "manual__1", "fetch", -1)
    options: dict[str, Any] = {"tolerate": 9, "keep_logs": True, "consts": {"pw": PASSWORD}, "connections": ["crm"]}
    key = f"lambda {PASSWORD}"
    results = manifold.scatter(
        log_in, range(8), engine="threads://2", scatter_id=name, ledger=home, key=lambda n: f"{key} {n}", **options
    )
    assert results.n_failed == 4
    viewer, here = login("viewer"), f"/scatters/{results.uid}"
    pages = ["/scatters", here, f"{here}/errors", f"{here}/failures", f"{here}/rate", f"{here}/map", f"{here}/timeline"]
    told = {}
    for path in [*pages, f"{here}/failures/1", f"{here}/failures.jsonl"]:
        answer = viewer.get(f"{API}{path}")
        assert answer.status_code == 200, f"{path}: {answer.text}"
        told[path] = answer.text
    assert "no login with '***'" in told[f"{here}/failures/1"]
    assert "I log in with ***" in told[f"{here}/failures/1"]
    for path, text in told.items():
        assert "hunter2" not in text, f"{path} shows it"
