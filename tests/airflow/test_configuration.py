"""Configured once in Airflow, the same for every process; and refused where only one host would see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifold import config as core
from manifold.airflow import configuration
from manifold.errors import ConfigError

SECRET = "k1:" + "ab" * 16


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("MANIFOLD_", "AIRFLOW__MANIFOLD__"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setattr(core, "resolvers", [])
    monkeypatch.setattr(core, "fillers", [])
    yield
    os.environ.clear()
    os.environ.update(before)


def use(monkeypatch: pytest.MonkeyPatch, executor: str, **options: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__MANIFOLD__{name.upper()}", value)


def test_a_single_host_needs_no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, "LocalExecutor")
    configuration.configure()
    assert core.ledger_url() == f"sqlite:///{tmp_path}/manifold/ledger.db"
    assert core.store_url() == f"file://{tmp_path}/manifold/store"
    assert core.keyring().current


def test_many_hosts_without_configuration_are_told_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "CeleryExecutor", store="s3://b/m")
    with pytest.raises(ConfigError) as raised:
        configuration.configure()
    told = str(raised.value)
    assert "no ledger and no secret" in told
    assert "AIRFLOW__MANIFOLD__LEDGER=postgresql://" in told
    assert "AIRFLOW__MANIFOLD__STORE" not in told


def test_the_core_finds_what_airflow_is_configured_with(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "CeleryExecutor", ledger="postgresql://me:pw@db/m", store="s3://b/m", secret=SECRET)
    configuration.configure()
    assert core.ledger_url() == "postgresql://me:pw@db/m"
    assert core.store_url() == "s3://b/m"
    assert core.keyring().current == "k1"


def test_a_process_that_only_reads_results_finds_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "CeleryExecutor", ledger="postgresql://me:pw@db/m", store="s3://b/m", secret=SECRET)
    configuration.register()
    assert core.store_url() == "s3://b/m"


def test_a_connection_id_stands_for_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BOOK", '{"conn_type": "manifold_ledger", "host": "db", "login": "me"}')
    use(monkeypatch, "CeleryExecutor", ledger="book", store="s3://b/m", secret=SECRET)
    configuration.configure()
    assert core.ledger_url() == "postgresql://me@db/manifold"


def test_what_the_environment_says_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "CeleryExecutor", ledger="postgresql://db/one", store="s3://b/m", secret=SECRET)
    monkeypatch.setenv("MANIFOLD_LEDGER", "postgresql://db/two")
    configuration.configure()
    assert core.ledger_url() == "postgresql://db/two"


def test_sqlite_is_refused_for_many_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "CeleryExecutor", ledger="sqlite:////tmp/x.db", store="s3://b/m", secret=SECRET)
    with pytest.raises(ConfigError, match="SQLite, which serves one host, but CeleryExecutor has many"):
        configuration.configure()


@pytest.mark.parametrize("executor", ["LocalExecutor", "CeleryExecutor"])
def test_a_store_in_memory_is_refused(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, executor, ledger="postgresql://db/m", store="memory://", secret=SECRET)
    with pytest.raises(ConfigError, match="memory:// ends with this task's process"):
        configuration.configure()


@pytest.mark.parametrize(
    ("executors", "single"),
    [
        ("LocalExecutor", True),
        ("SequentialExecutor", True),
        ("airflow.executors.local_executor.LocalExecutor", True),
        ("CeleryExecutor", False),
        ("LocalExecutor,CeleryExecutor", False),
        ("LocalExecutor;team1=CeleryExecutor", False),
        ("mine:LocalExecutor", True),
        ("LocalExecutor;team1=fast:airflow.executors.local_executor.LocalExecutor", True),
        ("mine:my.module.MyExecutor", False),
    ],
)
def test_which_executors_run_on_one_host(executors: str, single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, executors)
    assert configuration.single_host() is single


def test_scatters_that_name_no_engine_take_the_deployments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configuration.default_engine() == f"processes://{os.cpu_count()}"
    monkeypatch.setenv("AIRFLOW__MANIFOLD__DEFAULT_ENGINE", "celery_default")
    assert configuration.default_engine() == "celery_default"
