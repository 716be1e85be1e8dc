"""What is special about a database: rights, restarts, many at once."""

from __future__ import annotations

import multiprocessing
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from manifold.errors import ConfigError, StoreError
from manifold.stores import open_store


def test_a_role_without_the_right_to_make_the_table_gets_the_ddl_for_its_owner(postgres_url: str) -> None:
    owner = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    role = f"reader_of_{make_url(postgres_url).database}"
    with owner.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'a-password'"))
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
    url = make_url(postgres_url).set(username=role, password="a-password").render_as_string(hide_password=False)
    try:
        with pytest.raises(ConfigError, match="CREATE TABLE manifold_blob") as caught:
            open_store(f"sql+{url}")
        assert "a-password" not in str(caught.value)
        ddl = str(caught.value).partition("\n")[2]
        with owner.connect() as connection:
            for statement in filter(str.strip, ddl.split(";")):
                connection.execute(text(statement))
        store = open_store(f"sql+{url}")
        store.put("a/k", b"v")
        assert store.get("a/k") == b"v"
        store.close()
    finally:
        with owner.connect() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))
        owner.dispose()


def test_processes_that_open_an_empty_database_at_once_make_one_table(postgres_url: str) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(_put_one, [(f"sql+{postgres_url}", number) for number in range(6)]) == list(range(6))
    store = open_store(f"sql+{postgres_url}")
    assert len(list(store.keys())) == 6
    store.close()


def _put_one(job: tuple[str, int]) -> int:
    url, number = job
    store = open_store(url)
    store.put(f"k/{number}", b"v")
    store.close()
    return number


def test_threads_of_two_stores_write_one_sqlite_file_at_once(tmp_path: Path) -> None:
    stores = [open_store(f"sql+sqlite:///{tmp_path}/b.db") for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: stores[number % 2].put(f"k/{number}", bytes(20_000)), range(60), timeout=120))
    assert len(list(stores[0].keys())) == 60
    for store in stores:
        store.close()


def test_a_connection_that_the_server_cut_off_is_made_anew(postgres_url: str) -> None:
    store = open_store(f"sql+{postgres_url}")
    store.put("a/k", b"v")
    admin = create_engine(postgres_url)
    with admin.connect() as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'manifold store'"
        assert connection.execute(text(cut)).rowcount >= 1
    admin.dispose()
    assert store.get("a/k") == b"v"
    store.close()


def test_an_error_does_not_repeat_the_value(tmp_path: Path) -> None:
    store = open_store(f"sql+sqlite:///{tmp_path}/b.db")
    raw = create_engine(f"sqlite:///{tmp_path}/b.db")
    with raw.begin() as connection:
        connection.execute(text("DROP TABLE manifold_blob"))
    raw.dispose()
    value = bytes.fromhex("706572736f6e616c")  # "personal", which no source line in the traceback says
    with pytest.raises(StoreError, match="manifold_blob") as caught:
        store.put("a/k", value)
    assert "personal" not in "".join(traceback.format_exception(caught.value))
    store.close()
