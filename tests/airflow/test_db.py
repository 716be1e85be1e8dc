"""`airflow db migrate` looks after the ledger too, on the ledger's own database."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.utils.db_manager import RunDBManager

from manifold import config
from manifold.airflow.db import ManifoldDBManager
from manifold.errors import ConfigError, SchemaError
from manifold.ledger import open_ledger


@pytest.fixture
def manager() -> ManifoldDBManager:
    return ManifoldDBManager(session=None)  # type: ignore[no-untyped-call]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    before = dict(os.environ)
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    monkeypatch.setenv("MANIFOLD_LEDGER", url)
    monkeypatch.setattr(config, "fillers", [])
    yield url
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("how", ["initdb", "upgradedb", "resetdb", "create_db_from_orm"])
def test_whatever_airflow_calls_makes_the_tables(manager: ManifoldDBManager, ledger: str, how: str) -> None:
    assert not manager.check_migration()
    getattr(manager, how)()
    assert manager.check_migration()
    open_ledger(ledger, migrate=False).close()


def test_migrating_again_changes_nothing(manager: ManifoldDBManager, ledger: str) -> None:
    manager.initdb()
    first = open_ledger(ledger, migrate=False)
    manager.upgradedb()
    again = open_ledger(ledger, migrate=False)
    assert first.uuid == again.uuid
    first.close()
    again.close()


def test_a_reset_of_airflow_leaves_the_ledger_alone(manager: ManifoldDBManager, ledger: str) -> None:
    manager.initdb()
    manager.drop_tables(connection=None)
    manager.resetdb(skip_init=True)
    open_ledger(ledger, migrate=False).close()


def test_the_sql_is_not_run_when_it_should_only_be_shown(manager: ManifoldDBManager, ledger: str) -> None:
    manager.upgradedb(show_sql_only=True)
    with pytest.raises(SchemaError):
        open_ledger(ledger, migrate=False)


def test_without_a_ledger_airflow_starts_all_the_same(
    manager: ManifoldDBManager, ledger: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MANIFOLD_LEDGER")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with caplog.at_level(logging.INFO):
        manager.initdb()
    assert manager.check_migration()


def test_an_unreachable_ledger_is_no_finished_migration(
    manager: ManifoldDBManager, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFOLD_LEDGER", "sqlite:////nowhere/at/all.db")
    assert not manager.check_migration()


def test_the_ledger_is_not_downgraded(manager: ManifoldDBManager) -> None:
    with pytest.raises(ConfigError, match="not downgraded"):
        manager.downgrade("1")


def test_airflow_accepts_the_manager_among_its_own() -> None:
    runs: Any = RunDBManager()  # type: ignore[no-untyped-call]
    assert ManifoldDBManager in runs._managers
    runs.validate()


def test_airflow_db_migrate_has_made_the_ledger(airflow_db: Path) -> None:
    open_ledger(f"sqlite:///{airflow_db}/manifold/ledger.db", migrate=False).close()
