"""What bounds a chunk: the weight of its results as well as that of its items; nothing runs twice for it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import manifold
from manifold.coordinator.chunks import Sizer
from manifold.errors import BlobNotFound, StoreError
from manifold.ledger import Ledger, open_ledger, verify, verify_blobs
from manifold.ledger.gc import collect
from manifold.protocol.blob_keys import blob_of
from manifold.stores.file import FileStore
from manifold.stores.patient import PatientStore
from manifold.worker.meter import Meter
from tests.shared import ByReference

KB = 1000


class SmallStore(FileStore):
    """Takes a megabyte a value, and remembers the largest."""

    max_bytes = 1000 * KB
    largest = 0
    url = ""

    def put(self, key: str, value: bytes) -> None:
        if len(value) > self.max_bytes:
            raise StoreError("more than a value may have")
        type(self).largest = max(self.largest, len(value))
        super().put(key, value)


class Counting:
    """Counts how often each item is executed; results weigh what `size` says."""

    def __init__(self, size: Callable[[int], int]) -> None:
        self.ran: Counter[int] = Counter()
        self._size = size
        self._lock = threading.Lock()

    def __call__(self, x: int) -> bytes:
        with self._lock:
            self.ran[x] += 1
        return random_bytes(x, self._size(x))


def random_bytes(seed: int, size: int) -> bytes:
    import random

    return random.Random(seed).randbytes(size)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallStore:
    """The store of workers and coordinator."""
    opened = SmallStore(tmp_path / "small")
    monkeypatch.setattr("manifold.worker.process.HERE._stores", {f"file://{tmp_path}/small": PatientStore(opened)})
    monkeypatch.setattr("manifold.api.open_store", lambda url: opened)
    opened.url = f"file://{tmp_path}/small"
    return opened


SIZES: dict[str, Callable[[int], int]] = {
    "20 KB each": lambda x: 20 * KB,
    "small, then huge": lambda x: 10 if x < 700 else 300 * KB,
    "one in fifty is huge": lambda x: 900 * KB if x % 50 == 49 else 100,
    "huge, then small": lambda x: 500 * KB if x < 4 else 10,
    "growing": lambda x: x * x // 8,
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("chunk_size", [None, 400])
def test_no_item_runs_twice_because_results_are_large(sizes: str, chunk_size: int | None, store: SmallStore) -> None:
    fn, count = Counting(SIZES[sizes]), 800
    with ByReference(fn) as (engine, proxy):
        results = manifold.scatter(
            proxy,
            range(count),
            engine=engine,
            store=store.url,
            chunk_size=chunk_size,
            ledger=(ledger := open_ledger()),
        )
    assert fn.ran == Counter(range(count))
    assert all(value == random_bytes(x, SIZES[sizes](x)) for x, value in results.pairs())
    assert store.largest <= store.max_bytes
    assert verify(ledger, results.uid) == []
    assert verify_blobs(ledger, results.uid, store, collected=False) == []
    kept = sorted(store.keys())
    collect(ledger, ledger.scatter(results.uid), store)
    assert sorted(store.keys()) == kept, "pieces belong to their blob"


@pytest.mark.parametrize("sizes", SIZES)
def test_no_async_item_runs_twice_because_results_are_large(sizes: str, store: SmallStore) -> None:
    fn = Counting(SIZES[sizes])

    _counting.append(fn)
    results = manifold.scatter(_async_one, range(800), engine="threads://2", store=store.url)
    assert fn.ran == Counter(range(800))
    assert results.summary()["succeeded"] == 800


_counting: list[Counting] = []


async def _async_one(x: int) -> bytes:
    await asyncio.sleep(0)
    return _counting[-1](x)


def test_a_chunk_ends_when_its_results_weigh_chunk_bytes(store: SmallStore) -> None:
    fn = Counting(lambda x: 100 * KB)
    with ByReference(fn) as (engine, proxy):
        results = manifold.scatter(
            proxy,
            range(100),
            engine=engine,
            store=store.url,
            chunk_size=100,
            chunk_bytes=400 * KB,
            ledger=(ledger := open_ledger()),
        )
    rows = ledger.chunks(results.uid)
    assert max(row.blob_bytes for row in rows) < 600 * KB
    assert fn.ran == Counter(range(100))


def test_a_fold_counts_what_its_items_returned(store: SmallStore) -> None:
    fn = Counting(lambda x: 100 * KB)
    with ByReference(fn) as (engine, proxy):
        results = manifold.scatter(
            proxy,
            range(60),
            engine=engine,
            store=store.url,
            chunk_size=60,
            chunk_bytes=400 * KB,
            reduce=max,
            ledger=(ledger := open_ledger()),
        )
    assert results.value() == max(random_bytes(x, 100 * KB) for x in range(60))
    assert len(ledger.chunks(results.uid)) >= 12
    assert fn.ran == Counter(range(60))


def test_a_result_that_is_larger_than_a_value_of_the_store_fails_alone(store: SmallStore) -> None:
    fn = Counting(lambda x: 1500 * KB if x == 5 else 200 * KB)
    with ByReference(fn) as (engine, proxy):
        results = manifold.scatter(
            proxy,
            range(20),
            engine=engine,
            store=store.url,
            chunk_size=20,
            tolerate=1,
        )
    (failed,) = results.failures()
    assert failed.position == 5
    assert "the store takes 1,000,000" in failed.message
    assert results.summary()["succeeded"] == 19
    assert fn.ran == Counter(range(20))


def test_failed_items_that_weigh_more_than_a_value_of_the_store_are_kept(store: SmallStore) -> None:
    def spoil(item: bytes) -> None:
        raise ValueError(len(item))

    items = [random_bytes(x, 700 * KB) for x in range(5)]
    results = manifold.scatter(
        spoil,
        items,
        engine="threads://1",
        store=store.url,
        chunk_size=5,
        tolerate="100%",
    )
    assert [failed.item for failed in results.failures()] == items
    assert any(blob_of(key) != key for key in list(store.keys()))


def test_the_sizer_learns_what_results_weigh() -> None:
    sizer = Sizer(None, 32, 4_000_000, 1_000_000)
    sizer.measured(32, 0.001)
    assert sizer.size(1_000_000, 2) > 400
    sizer.returned(32, 32 * 20_000)
    assert sizer.size(1_000_000, 2) == 37


def test_a_meter_looks_at_every_item_where_they_are_slow_or_large() -> None:
    meter, values, seen = Meter(1_000_000), list[Any](), list[int]()
    for batch in meter.batches(list(range(100)), values):
        before = len(values)
        values.extend(b"x" * 300_000 for _ in batch)
        seen.append(len(values) - before)
    assert seen == [1] * 4
    assert meter.full


# -- stores that do not answer -----------------------------------------------------------------------------------------


class Away(FileStore):
    """Does not answer for so many operations, once armed."""

    slept: ClassVar[list[float]] = []
    down = 0
    refused = 0

    def _look(self) -> None:
        if type(self).down > 0:
            type(self).down -= 1
            type(self).refused += 1
            raise StoreError("no route to host")

    def put(self, key: str, value: bytes) -> None:
        self._look()
        super().put(key, value)

    def get(self, key: str) -> bytes:
        self._look()
        return super().get(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        self._look()
        return super().keys(prefix)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    slept: list[float] = []
    monkeypatch.setattr("manifold.clock.SystemClock.sleep", lambda _self, seconds: slept.append(seconds))
    Away.down = Away.refused = 0
    opened = Away(tmp_path / "away")
    opened.slept = slept  # type: ignore[misc]
    yield opened
    assert Away.refused


@pytest.mark.parametrize("operations", [1, 30])
def test_a_store_that_is_away_for_longer_than_a_few_seconds_ends_no_try(away: Away, operations: int) -> None:
    Away.down = operations  # the marker and the function's own put are waited for
    results = manifold.scatter(
        lambda x: _arm(x, operations), range(40), engine="threads://1", store=away, chunk_size=10
    )
    assert list(results) == list(range(40))
    if operations > 20:
        assert sum(away.slept) > 60, "as the ledger is waited for"


def _arm(x: int, operations: int) -> int:
    if x == 15:
        Away.down = operations
    return x


def test_a_store_that_stays_away_ends_the_try_once_its_time_is_over(away: Away) -> None:
    Away.down = 10_000
    with pytest.raises(StoreError, match="no route"):
        manifold.scatter(abs, range(4), engine="threads://1", store=away)
    assert 290 < sum(away.slept) < 320


def test_a_reader_waits_for_its_store(tmp_path: Path) -> None:
    Away.down = 0
    slept: list[float] = []
    store = PatientStore(Away(tmp_path / "reader"), sleep=slept.append)
    store.put("a/b", b"x")
    Away.down = 9
    assert store.get("a/b") == b"x"
    assert len(slept) == 8
    with pytest.raises(BlobNotFound):
        store.get("a/none")
    Away.down, tries = 2, len(slept)
    with store.briefly(), pytest.raises(StoreError):
        store.get("a/b")
    assert len(slept) == tries


def test_a_lack_of_rights_is_not_waited_for() -> None:
    class Locked(FileStore):
        def put(self, key: str, value: bytes) -> None:
            raise StoreError("may not write") from PermissionError("denied")

    slept: list[float] = []
    with pytest.raises(StoreError, match="may not"):
        PatientStore(Locked(Path("/nowhere")), sleep=slept.append).put("a/b", b"x")
    assert slept == []


class Forgetful(FileStore):
    """Loses the first sidecar that is put, as a bucket does that takes one put of two."""

    lost = 0

    def put(self, key: str, value: bytes) -> None:
        if key.endswith(".f") and not type(self).lost:
            type(self).lost += 1
            return
        super().put(key, value)


def test_a_chunk_whose_list_of_failures_is_lost_runs_again(tmp_path: Path, ledger: Ledger) -> None:
    Forgetful.lost = 0
    store = Forgetful(tmp_path / "forgetful")
    failing = Counting(lambda x: 1)

    def spoil(x: int) -> None:
        failing(x)
        raise ValueError(x)

    with ByReference(spoil, slots=1) as (engine, proxy):
        results = manifold.scatter(
            proxy, range(500), engine=engine, store=store, chunk_size=500, tolerate="100%", ledger=ledger
        )
    assert Forgetful.lost == 1
    assert results.summary()["failed"] == 500
    assert verify(ledger, results.uid) == []
