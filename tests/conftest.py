"""Servers and ledgers for tests: real ones, each started once, used by whoever asks."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

from manifold.demo.postgres import PostgresServer
from manifold.ledger import Ledger, open_ledger

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)

if "PYTEST_XDIST_WORKER" in os.environ:
    # As without it: else the modules of the tests are taken for those of a prompt in this folder, and travel by value.
    sys.modules["__main__"].__file__ = str(Path(pytest.__file__).with_name("__main__.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.groups import ByServers

    config.option.loadscopereorder = False  # they are in order
    return ByServers(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from tests.groups import order

    items.sort(key=lambda item: order(item.nodeid))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C works in what a test starts, although a shell that runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """No handler of a signal outlives a test, as Airflow's of a task would; later tests' children may not end by it."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running PostgreSQL server."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres") / "data", settings={"fsync": "off"})
    try:
        with server:
            yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    admin = create_engine(postgres.url(), isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger in SQLite."""
    yield from _used(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind that a ledger may rest in."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger, once in each kind of database."""
    yield from _used(ledger_url)


def _used(url: str) -> Iterator[Ledger]:
    ledger = open_ledger(url, migrate=True)
    yield ledger
    pool = ledger.database.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0, "a transaction of the ledger did not give its connection back"
    ledger.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed may be no UTF-8, which processes that run some of the tests cannot send."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
