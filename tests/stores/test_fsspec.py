"""What is special about fsspec: two ways to put, listings that are never stale, errors of every client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem

from manifold.errors import BlobNotFound, ConfigError, StoreError
from manifold.stores.fsspec import FsspecStore


def _folder(path: Path) -> FsspecStore:
    return FsspecStore(DirFileSystem(str(path), fsspec.filesystem("local")), "in")


def test_where_an_upload_may_be_seen_in_part_a_blob_is_renamed_into_place(tmp_path: Path) -> None:
    written: list[str] = []

    class Watched(DirFileSystem):  # type: ignore[misc]
        def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
            written.append(path)
            super().pipe_file(path, value, **options)

    store = FsspecStore(Watched(str(tmp_path), fsspec.filesystem("local")), "in")
    store.put("a/k", b"v")
    assert written[0].startswith("in/a/.k.")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["k"]


def test_what_a_killed_put_left_is_never_a_key(tmp_path: Path) -> None:
    store = _folder(tmp_path)
    store.put("a/k", b"v")
    (tmp_path / "in" / "a" / ".k.0123").write_bytes(b"half")
    assert list(store.keys()) == ["a/k"]
    assert list(store.keys("a/")) == ["a/k"]


def test_an_upload_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Breaks(DirFileSystem):  # type: ignore[misc]
        def mv(self, *paths: Any, **options: Any) -> None:
            raise OSError("the network is down")

    store = FsspecStore(Breaks(str(tmp_path), fsspec.filesystem("local")), "in")
    with pytest.raises(StoreError, match=r"a/k \(1 bytes\) to FsspecStore: OSError: the network is down"):
        store.put("a/k", b"v")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("error", [TimeoutError("slow"), OSError("reset"), RuntimeError("client error 503")], ids=repr)
def test_whatever_a_client_raises_is_a_store_error_and_no_lost_blob(tmp_path: Path, error: Exception) -> None:
    class Breaks(DirFileSystem):  # type: ignore[misc]
        def cat_file(self, *args: Any, **options: Any) -> bytes:
            raise error

    store = FsspecStore(Breaks(str(tmp_path), fsspec.filesystem("local")), "in")
    with pytest.raises(StoreError, match=str(error)) as caught:
        store.get("a/k")
    assert not isinstance(caught.value, BlobNotFound)
    assert caught.value.__cause__ is error


def test_a_put_into_what_is_not_there_is_no_lost_blob(tmp_path: Path) -> None:
    class NoBucket(DirFileSystem):  # type: ignore[misc]
        def makedirs(self, *args: Any, **options: Any) -> None:
            raise FileNotFoundError("no such bucket")

    store = FsspecStore(NoBucket(str(tmp_path), fsspec.filesystem("local")), "in")
    with pytest.raises(StoreError) as caught:
        store.put("a/k", b"v")
    assert not isinstance(caught.value, BlobNotFound)


def test_a_file_system_that_cannot_write_is_no_store(tmp_path: Path) -> None:
    class ReadOnly(DirFileSystem):  # type: ignore[misc]
        def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
            raise NotImplementedError

    store = FsspecStore(ReadOnly(str(tmp_path), fsspec.filesystem("local")), "in")
    with pytest.raises(ConfigError, match="cannot be a store"):
        store.put("a/k", b"v")
