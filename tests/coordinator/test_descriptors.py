"""Items that leave files open take no store for unreachable: the chunk comes to an outcome that says what is open."""

from __future__ import annotations

import errno
import gc
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import manifold
from manifold import descriptors
from manifold.errors import StoreError
from manifold.ledger import open_ledger, verify
from manifold.stores.file import FileStore
from manifold.stores.patient import PatientStore
from manifold.worker.hints import hint
from tests.shared import Notices


def leaking(x: int) -> int:
    """Leaves a file open, in a process that may have 80."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = sys.__dict__.setdefault("_held_open", [])
    while not held or len(os.listdir("/proc/self/fd")) < 50:  # so that the last one is taken in the midst of a chunk
        held.append(open(os.devnull))  # noqa: SIM115
    held.append(open(os.devnull))  # noqa: SIM115
    return os.getpid()


@contextmanager
def exhausted() -> Iterator[None]:
    """This process has no descriptor left."""
    gc.collect()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(name) for name in os.listdir("/proc/self/fd")) + 8, before[1]))
    held = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_without_descriptors_gives_its_results_along_and_is_replaced(home: Path) -> None:
    notices = Notices()
    results = manifold.scatter(
        leaking,
        range(200),
        engine="processes://1",
        chunk_size=20,
        tolerate="100%",
        scatter_id="leaking",
        monitors=[notices],
    )
    assert results.n_ok + results.n_failed == 200
    failures = list(results.failures())
    assert failures, "the items that could open nothing have failed"
    assert all(
        "Too many open files" in one.message and "leave files or connections open" in one.message for one in failures
    )
    assert len(set(results)) >= 3, "each process that was full has been replaced"
    told = [text for text in notices.texts if "80 of 80 file descriptors open" in text]
    assert told
    assert all(os.devnull in text and "ulimit -n" in text for text in told)
    assert len(told) == len(set(told)), "each process is reported once"
    assert not any("sent again" in text for text in notices.texts), "no store was to blame"
    ledger = open_ledger()
    assert verify(ledger, results.uid) == []
    ledger.close()


_SCRIPT = """
import manifold
from tests.coordinator.test_descriptors import leaking
manifold.scatter(leaking, range(200), engine="threads://1", chunk_size=20, tolerate="100%")
"""


def test_where_it_is_the_coordinator_itself_the_try_ends_and_says_what_is_open() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("manifold.errors.StoreError: could not write")
    assert "of 80 file descriptors open" in last
    assert os.devnull in last
    assert "ulimit -n" in last


def test_a_store_is_waited_for_less_long_where_the_process_is_to_blame(tmp_path: Path) -> None:
    slept: list[float] = []
    store = PatientStore(FileStore(tmp_path), sleep=slept.append, on_wait=lambda _: None)
    store.put("a/b", b"")
    with exhausted(), pytest.raises(StoreError, match="file descriptors open") as caught:
        store.get("a/b")
    assert caught.value.exhausted
    assert sum(slept) < 30
    assert store.get("a/b") == b""


class Full(FileStore):
    """One whose server has no descriptor left."""

    def get(self, key: str) -> bytes:
        raise StoreError("cannot open the file there") from OSError(errno.EIO, "Too many open files there")


def test_a_store_with_a_lack_of_its_own_is_waited_for_as_any_other(tmp_path: Path) -> None:
    slept: list[float] = []
    store = PatientStore(Full(tmp_path), sleep=slept.append, on_wait=lambda _: None)
    with pytest.raises(StoreError) as caught:
        store.get("a/b")
    assert not caught.value.exhausted
    assert sum(slept) > 200


def test_a_shortage_is_told_only_as_long_as_it_lasts() -> None:
    with exhausted():
        assert descriptors.shortage() is not None
    assert descriptors.shortage() is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("OSError", "[Errno 24] Too many open files: '/data/x'"),
        ("aiohttp.client_exceptions.ClientConnectorError", "Cannot connect to host a:80 [Too many open files]"),
        ("OSError", "[Errno 23] Too many open files in system"),
    ],
)
def test_an_item_that_can_open_nothing_says_what_to_do(kind: str, text: str) -> None:
    assert "per_worker" in hint(kind, text)
