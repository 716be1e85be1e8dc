from __future__ import annotations

import re
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from manifold.demo.postgres import PostgresServer
from manifold.demo.process import Child, StartError
from manifold.demo.redis import WHEEL, RedisServer
from tests.demo.waiting import running, until


def ask(url: str, statement: str) -> object:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def addresses(child: Child) -> set[str]:
    """Where a process and its children listen."""
    process = psutil.Process(child.pid)
    found = set()
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found |= {at.laddr.ip for at in one.net_connections() if at.status == psutil.CONN_LISTEN}
    return found


def test_postgresql_keeps_its_data_from_one_start_to_the_next(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "data")
    try:
        with server:
            ask(server.create_database("ledger"), "CREATE TABLE kept AS SELECT 42 AS answer")
        # Another object, as in another process: the password is the kept one.
        server = PostgresServer(tmp_path / "data")
        with server:
            assert ask(server.create_database("ledger"), "SELECT answer FROM kept") == 42
    finally:
        server.remove()


def test_postgresql_wants_the_password_even_on_this_machine(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        ask(postgres.url(password="guessed"), "SELECT 1")


def test_a_database_with_a_password_belongs_to_its_own_role(postgres: PostgresServer) -> None:
    url = postgres.create_database("of_its_own", "first")
    assert ask(url, "SELECT current_user") == "of_its_own"
    ask(url, "CREATE TABLE mine (a int)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(url, "CREATE DATABASE another")
    # A start with other secrets sets the password anew.
    assert ask(postgres.create_database("of_its_own", "second"), "SELECT current_user") == "of_its_own"


def test_postgresql_listens_on_this_machine_only_and_never_as_root(postgres: PostgresServer) -> None:
    assert addresses(postgres.child) == {"127.0.0.1"}
    assert psutil.Process(postgres.child.pid).uids().real != 0


def test_data_made_with_another_password_are_refused_with_what_to_do(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "data", password="one")
    try:
        with server:
            pass
        with pytest.raises(StartError, match=r"was made with another password. Delete it"):
            PostgresServer(tmp_path / "data", password="two").start()
    finally:
        server.remove()


def test_postgresql_ends_with_its_starter_and_starts_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    program = f"""
import time
from pathlib import Path
from manifold.demo.postgres import PostgresServer
server = PostgresServer(Path({str(data)!r}))
server.start()
print(server.child.pid, flush=True)
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.kill()
    server = PostgresServer(data)
    try:
        with server:
            until(lambda: not running(pid), "the end of the first server")
            assert ask(server.url(), "SELECT 1") == 1
    finally:
        server.remove()


def test_redis_wants_the_password_and_listens_on_this_machine_only(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "a folder" / "redis") as server:
        with redis.Redis.from_url(server.url(3)) as client:
            client.set("a", "1")
            assert client.get("a") == b"1"
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
            stranger.ping()
        assert addresses(server.child) == {"127.0.0.1"}
        assert server.password not in " ".join(psutil.Process(server.child.pid).cmdline())
        secret = [path for path in tmp_path.rglob("*") if path.is_file() and server.password in path.read_text()]
        assert {path.name for path in secret} == {"redis.conf", "redis.password"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_the_redis_that_is_unpacked_is_the_one_that_is_pinned() -> None:
    pins = (Path(__file__).parents[2] / "requirements.txt").read_text()
    assert re.search(rf"^{re.escape(WHEEL)} ;", pins, re.MULTILINE)
