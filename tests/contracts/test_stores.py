"""Every store against the contract: a row for each scheme, and a second one where a store has two ways to work."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from sqlalchemy import create_engine, text

from manifold.registry import STORES
from manifold.stores import open_store
from manifold.stores.fsspec import FsspecStore
from manifold.testing.stores import SharedStoreContract, StoreContract, StoreRow

WAYS = {"fsspec": ("", "_by_rename"), "sql": ("_postgresql", "_sqlite")}
"""The stores that have two ways to work, each with a fixture of its own."""
ROWS = [scheme + way for scheme in STORES.entries for way in WAYS.get(scheme, ("",))]
SHARED = ("file", "fsspec_by_rename", "sql_postgresql", "sql_sqlite")


@pytest.fixture
def file_row(tmp_path: Path) -> StoreRow:
    root = tmp_path / "made by the first put"
    return StoreRow("file", partial(open_store, root.as_uri()), lambda key: (root / key).read_bytes())


@pytest.fixture
def fsspec_row() -> StoreRow:
    place = f"test/{uuid4().hex}"
    return StoreRow(
        "fsspec",
        partial(open_store, f"fsspec+memory://{place}"),
        lambda key: bytes(fsspec.filesystem("memory").cat_file(f"/{place}/{key}")),
    )


@pytest.fixture
def fsspec_by_rename_row(tmp_path: Path) -> StoreRow:
    """A file system of fsspec's that has no upload that appears whole, as SFTP."""
    folder = DirFileSystem(str(tmp_path), fsspec.filesystem("local"))
    return StoreRow("fsspec", partial(FsspecStore, folder, "in"), lambda key: (tmp_path / "in" / key).read_bytes())


@pytest.fixture
def memory_row() -> StoreRow:
    return StoreRow("memory", partial(open_store, f"memory://{uuid4().hex}"))


@pytest.fixture
def sql_postgresql_row(postgres_url: str) -> StoreRow:
    return StoreRow("sql", partial(open_store, f"sql+{postgres_url}"), partial(_row_of, postgres_url))


@pytest.fixture
def sql_sqlite_row(tmp_path: Path) -> StoreRow:
    url = f"sqlite:///{tmp_path / 'blobs.db'}"
    return StoreRow("sql", partial(open_store, f"sql+{url}"), partial(_row_of, url))


def _row_of(url: str, key: str) -> bytes:
    engine = create_engine(url)
    with engine.connect() as connection:
        value = connection.execute(text("SELECT value FROM manifold_blob WHERE key = :key"), {"key": key}).scalar_one()
    engine.dispose()
    return bytes(value)


@pytest.fixture
def store_row(request: pytest.FixtureRequest) -> StoreRow:
    row = request.getfixturevalue(f"{request.param}_row")
    assert isinstance(row, StoreRow)
    return row


@pytest.mark.parametrize("store_row", ROWS, indirect=True)
class TestStores(StoreContract):
    pass


@pytest.mark.parametrize("store_row", SHARED, indirect=True)
class TestSharedStores(SharedStoreContract):
    pass


@pytest.mark.parametrize("store_row", ROWS, indirect=True)
def test_a_row_that_others_see_is_held_to_the_contract_of_shared_stores(
    store_row: StoreRow, request: pytest.FixtureRequest
) -> None:
    store = store_row.open()
    name = request.node.callspec.params["store_row"]
    assert (store.reach != "process") == (name in SHARED)
    assert STORES.entries[name.partition("_")[0]].reach in ("hosts", store.reach)
    store.close()


def test_no_store_is_without_a_row() -> None:
    assert {f"{name}_row" for name in ROWS} <= globals().keys()
