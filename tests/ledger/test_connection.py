"""Reaching the ledger's database, and outliving its absence."""

from __future__ import annotations

import gc
import multiprocessing
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.pool import QueuePool

from manifold.demo.postgres import PostgresServer
from manifold.errors import ConfigError, LedgerError, MissingExtra, SchemaError
from manifold.ledger import Ledger, connection, open_ledger
from manifold.ledger.connection import Database, connect
from tests.ledger.made import claimed, done, new, sound


def shown(name: str) -> Callable[[Connection], object]:
    return lambda conn: conn.exec_driver_sql(name).scalar()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root:secret@host/db", "PostgreSQL or SQLite, not in 'mysql'"),
        ("ledger.db", "is not a ledger such as postgresql://"),
    ],
)
def test_a_url_that_is_no_ledger_is_an_error_that_says_what_is(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        connect(url)
    assert "secret" not in str(error.value)


def test_a_driver_that_is_not_installed_is_named_with_the_line_that_installs_it() -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'airflow-manifold\[postgres\]'"):
        connect("postgresql+nothing://host/db")


def test_a_plain_postgresql_url_takes_the_driver_of_the_extra() -> None:
    assert connect("postgresql://host/db").url.drivername == "postgresql+psycopg2"
    assert connect("postgres://host/db").url.drivername == "postgresql+psycopg2"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    disks = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype=kind)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: disks)
    with pytest.raises(ConfigError, match=f"is on {kind}.*use a local disk, or PostgreSQL"):
        connect(f"sqlite:///{tmp_path / 'deep' / 'ledger.db'}")
    assert connect("sqlite:////elsewhere/ledger.db")


def test_sqlite_survives_a_power_cut_and_lets_others_read(sqlite_ledger: Ledger) -> None:
    assert sqlite_ledger.database.read(shown("PRAGMA journal_mode")) == "wal"
    assert sqlite_ledger.database.read(shown("PRAGMA synchronous")) == 2
    assert sqlite_ledger.database.read(shown("PRAGMA busy_timeout")) == 30_000


def test_postgresql_is_told_its_limits_in_each_transaction_and_keeps_nothing_in_the_session(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url, migrate=True)
    limits = {"idle_in_transaction_session_timeout": "10s", "lock_timeout": "15s"}
    for name, value in limits.items():
        assert ledger.database.write(shown(f"SHOW {name}")) == ledger.database.read(shown(f"SHOW {name}")) == value
    assert ledger.database.write(shown("SHOW transaction_isolation")) == "read committed"
    assert ledger.database.read(shown("SHOW transaction_isolation")) == "repeatable read"
    assert ledger.database.read(shown("SHOW transaction_read_only")) == "on"
    with ledger.database.engine.connect() as conn:
        assert [shown(f"SHOW {name}")(conn) for name in limits] == ["0", "0"]
    ledger.close()


def test_a_coordinator_holds_one_connection(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url, migrate=True)
    claim = claimed(ledger)
    for start in range(0, 6, 3):
        done(claim, start, "oof")
    list(ledger.merged(claim.uid, page=1))
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    assert ledger.database.read(shown(count)) == 1
    ledger.close()


def test_a_ledger_that_nobody_holds_any_more_closes_its_connection(postgres_url: str) -> None:
    forgotten = open_ledger(postgres_url, migrate=True)
    here = forgotten.database.read(shown("SELECT pg_backend_pid()"))
    del forgotten
    beside = open_ledger(postgres_url)
    gone = f"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {here}"
    deadline = time.monotonic() + 30
    while not beside.database.read(shown(gone)):
        assert time.monotonic() < deadline
    beside.close()


def test_statements_that_one_ledger_compiled_are_used_by_the_next_and_connections_by_none(tmp_path: Path) -> None:
    gc.collect()  # of what other tests left: of engines that nobody uses, the newest few are kept
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    first, meanwhile = open_ledger(url), open_ledger(url)
    engines = {id(one.database.engine) for one in (first, meanwhile)}
    assert len(engines) == 2, "two ledgers that are in use have an engine each"
    kept = (first.database.engine, meanwhile.database.engine)  # whose ids stay theirs
    del first, meanwhile
    gc.collect()
    assert all(engine.pool.checkedin() == 0 for engine in kept if isinstance(engine.pool, QueuePool))
    third, fourth, fifth = open_ledger(url), open_ledger(url), open_ledger(url)
    assert {id(third.database.engine), id(fourth.database.engine)} == engines
    assert id(fifth.database.engine) not in engines


def test_a_relative_path_is_that_of_the_folder_where_the_ledger_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        opened = open_ledger("sqlite:///ledger.db")
        opened.close()
        del opened
        gc.collect()
        assert (tmp_path / name / "ledger.db").exists()


def test_a_server_that_is_restarted_is_waited_for(postgres: PostgresServer, postgres_url: str) -> None:
    ledger = open_ledger(postgres_url, migrate=True)
    claim = claimed(ledger)
    told: list[str] = []

    def start(text_: str) -> None:
        told.append(text_)
        if len(told) == 2:
            postgres.start()

    ledger.database.on_wait = start
    postgres.stop()
    done(claim, 0, "oof")
    assert len(told) >= 2
    assert "waiting for the ledger" in told[0]
    sound(ledger)
    ledger.close()


def test_a_lock_that_is_held_too_long_is_waited_for(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LIMITS", "SET LOCAL lock_timeout = '50ms'")
    ledger, other = open_ledger(postgres_url, migrate=True), connect(postgres_url)
    claim = claimed(ledger)
    with other.connect() as holder:
        holder.execute(text("UPDATE scatter SET seq = seq"))
        told: list[str] = []

        def let_go(text_: str) -> None:
            told.append(text_)
            holder.rollback()

        ledger.database.on_wait = let_go
        claim.renew()
    assert "lock timeout" in told[0]
    ledger.close()
    other.dispose()


def test_a_locked_sqlite_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    claim = claimed(ledger)
    ledger.database.read(shown("PRAGMA busy_timeout = 10"))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    told: list[str] = []

    def let_go(text_: str) -> None:
        told.append(text_)
        if len(told) == 2:
            holder.execute("ROLLBACK")

    ledger.database.on_wait = let_go
    done(claim, 0, "oof")
    assert len(told) == 2
    assert told[0].endswith("database is locked")
    holder.close()
    ledger.close()


def test_patience_ends_in_an_error_that_says_for_how_long_and_why(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    impatient = Ledger(ledger.database.engine, database=Database(ledger.database.engine, patience=0.2))
    impatient.database.read(shown("PRAGMA busy_timeout = 10"))
    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=f"{path} could not be used for 0 s: database is locked"):
            impatient.create(new())
        holder.execute("ROLLBACK")
    holder.close()
    assert impatient.scatters() == []
    ledger.close()


def test_a_wrong_password_is_not_waited_for(postgres_url: str) -> None:
    engine = connect(make_url(postgres_url).set(password="wrong").render_as_string(hide_password=False))
    told: list[str] = []
    with pytest.raises(LedgerError, match="password authentication failed"):
        Database(engine, on_wait=told.append).read(shown("SELECT 1"))
    assert told == []


def test_a_fault_that_will_not_pass_is_not_waited_for(ledger: Ledger) -> None:
    told: list[str] = []
    ledger.database.on_wait = told.append
    with pytest.raises(LedgerError, match="refused"):
        ledger.database.write(shown("nonsense"))
    with pytest.raises(SchemaError, match="manifold db migrate"):
        ledger.database.write(shown("SELECT * FROM nothing_of_that_name"))
    assert told == []


def test_an_error_in_a_transaction_takes_all_of_it_back(ledger: Ledger) -> None:
    def work(conn: Connection) -> None:
        conn.execute(text("UPDATE meta SET value = 'x' WHERE name = 'ledger_uuid'"))
        raise KeyError("in the midst")

    with pytest.raises(KeyError):
        ledger.database.write(work)
    assert Ledger(ledger.database.engine).uuid == ledger.uuid != "x"


def create_in_child(ledger: Ledger) -> None:
    claim = claimed(ledger, "made by the child")
    done(claim, 0, "oof")


def fork_while_connected(url: str) -> None:
    ledger = open_ledger(url)
    claim = claimed(ledger)
    done(claim, 0, "oo")
    child = multiprocessing.get_context("fork").Process(target=create_in_child, args=(ledger,))
    child.start()
    done(claim, 2, "oo")
    child.join(60)
    assert child.exitcode == 0
    done(claim, 4, "oo")


def test_a_child_after_a_fork_has_a_connection_of_its_own(ledger: Ledger) -> None:
    url = ledger.database.engine.url.render_as_string(hide_password=False)
    # In a process of its own: this one may have threads of other tests, and a fork would copy the locks they hold.
    parent = multiprocessing.get_context("spawn").Process(target=fork_while_connected, args=(url,))
    parent.start()
    parent.join(120)
    assert parent.exitcode == 0
    assert {row.name: row.done for row in ledger.scatters()} == {"flights": 6, "made by the child": 3}
    sound(ledger)
