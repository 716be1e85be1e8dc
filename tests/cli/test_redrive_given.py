"""A redrive gives a function the connections that it ran with: as the environment has them now."""

from __future__ import annotations

from pathlib import Path

import pytest

import manifold
from manifold.ledger import Ledger
from tests.cli.conftest import Cli


def test_failed_items_run_again_with_the_connections_of_today(
    book: Ledger, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(n: int) -> int:
        import os

        if os.environ["AIRFLOW_CONN_CRM"] != "crm://new":
            raise ConnectionError(f"no login with {os.environ['AIRFLOW_CONN_CRM']}")
        return n

    monkeypatch.setenv("AIRFLOW_CONN_CRM", "crm://old-password")
    options = {"engine": "threads://1", "scatter_id": "asks", "tolerate": 9, "connections": ["crm"]}
    assert manifold.scatter(ask, range(4), ledger=book, **options).n_failed == 4
    monkeypatch.delenv("AIRFLOW_CONN_CRM")
    refused = cli("redrive", "asks")
    assert refused.exit_code != 0
    assert "Set AIRFLOW_CONN_CRM" in refused.output
    monkeypatch.setenv("AIRFLOW_CONN_CRM", "crm://new")
    again = cli("redrive", "asks")
    assert again.exit_code == 0, again.output
    assert book.scatter(book.find("asks").uid).n_ok == 4  # type: ignore[union-attr]
