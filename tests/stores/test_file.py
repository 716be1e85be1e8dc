"""What is special about files: syncing, full disks, folders that come and go."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from manifold.errors import BlobNotFound, ConfigError, StoreError
from manifold.stores import open_store
from manifold.stores.file import FileStore


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("url", ["file://data/blobs", "file:data", "file://", "file:///", "file://host/data"])
def test_a_folder_that_is_not_absolute_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url)


def test_a_relative_path_is_refused_when_made_by_hand() -> None:
    with pytest.raises(ConfigError, match="relative"):
        FileStore(Path("data"))


def test_opening_makes_no_folder(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/later")
    assert list(store.keys()) == []
    assert not (tmp_path / "later").exists()


def test_a_path_with_spaces_is_read_as_a_url(tmp_path: Path) -> None:
    root = tmp_path / "a b%c"
    open_store(root.as_uri()).put("k", b"v")
    assert (root / "k").read_bytes() == b"v"


def test_a_folder_that_hosts_share_says_so(tmp_path: Path) -> None:
    assert open_store(f"file://{tmp_path}").reach == "host"
    assert open_store(f"file://{tmp_path}?shared=true").reach == "hosts"
    for wrong in ("shared=maybe", "share=true"):
        with pytest.raises(ConfigError, match="shared=true"):
            open_store(f"file://{tmp_path}?{wrong}")


def test_file_and_all_new_folders_are_synced_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store = open_store(f"file://{tmp_path}/root")
    store.put("a/b/k", b"v")
    root = tmp_path / "root"
    assert {tmp_path, root, root / "a", root / "a/b"} <= set(synced)
    assert synced[-1] in {root / "a/b", root / "a", root}, "the folder is synced after the rename"
    assert any(path.parent == root / "a/b" and path.name.startswith(".") for path in synced), (
        "the file itself is synced"
    )
    synced.clear()
    store.put("a/b/k2", b"v")
    assert len(synced) == 2


def test_a_full_disk_is_a_store_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = open_store(f"file://{tmp_path}")
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        with pytest.raises(StoreError, match="disk is full"):
            store.put("a/k", b"v" * 1000)
    assert _files(tmp_path) == []
    store.put("a/k", b"v")
    assert store.get("a/k") == b"v"


def test_a_write_that_is_cut_short_by_the_system_leaves_nothing(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_write_too_much, args=(tmp_path,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert _files(tmp_path) == []


def _write_too_much(root: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    store = open_store(f"file://{root}")
    with pytest.raises(StoreError, match="5,000,000 bytes"):
        store.put("a/k", bytes(5_000_000))
    with pytest.raises(BlobNotFound):
        store.get("a/k")


def test_a_file_that_cannot_be_read_is_no_lost_blob(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreError) as caught:
        store.get("loop")
    assert not isinstance(caught.value, BlobNotFound)


def test_what_a_killed_put_left_is_never_a_key_and_goes_after_a_day(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    store.put("a/k", b"v")
    young, old = tmp_path / "a" / ".young", tmp_path / "a" / ".old"
    for left in (young, old):
        left.write_bytes(b"half")
    day_before_yesterday = time.time() - 2 * 86_400
    os.utime(old, (day_before_yesterday, day_before_yesterday))
    assert list(store.keys()) == ["a/k"]
    assert young.exists()
    assert not old.exists()


def test_putting_and_deleting_in_one_folder_at_once_loses_nothing(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")

    def churn(number: int) -> None:
        for turn in range(50):
            store.put(f"a/b/{number}", b"x")
            assert store.get(f"a/b/{number}") == b"x", turn
            store.delete(f"a/b/{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(4), timeout=120))
    assert list(store.keys()) == []
