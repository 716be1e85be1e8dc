"""What a coordinator does when ledger or store go away for a while, or for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.abc import Monitor, Store
from manifold.api import scatter_items
from manifold.demo.postgres import PostgresServer
from manifold.errors import ResultsLost, StoreError, StoreNotShared, TooManyFailures
from manifold.events import ChunkCommitted, Event, ScatterStarted
from manifold.ledger import Ledger, open_ledger, verify
from manifold.stores.file import FileStore
from tests.ledger.made import copied, fail_over
from tests.shared import ByReference


def slow(x: int) -> int:
    time.sleep(0.005)
    return x


def test_postgresql_restarted_in_mid_scatter_is_waited_for(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres")
    try:
        with server:
            url = server.create_database("ledger")
            ledger = open_ledger(url, migrate=True)
            found: list[manifold.Results] = []

            def run() -> None:
                with ByReference(slow) as (engine, proxy):
                    found.append(
                        manifold.scatter(proxy, range(2000), engine=engine, ledger=url, scatter_id="pg", chunk_size=10)
                    )

            thread = threading.Thread(target=run)
            thread.start()
            _until(lambda: (row := ledger.find("pg")) is not None and row.done > 200)
            server.stop()
            time.sleep(1)
            server.start()
            thread.join(120)
            assert list(found[0]) == list(range(2000))
            row = ledger.find("pg")
            assert row is not None
            assert verify(ledger, row.uid) == []
            ledger.close()
    finally:
        server.remove()


class Moody(FileStore):
    """Fails every third put."""

    puts = 0

    def put(self, key: str, value: bytes) -> None:
        type(self).puts += 1
        if self.puts % 3 == 0:
            raise StoreError("the disk is full")
        super().put(key, value)


def test_a_store_that_fails_now_and_then_costs_nothing(tmp_path: Path) -> None:
    store: Store = Moody(tmp_path / "store")
    results = manifold.scatter(lambda x: x, range(200), engine="threads://2", store=store, chunk_size=10)
    assert list(results) == list(range(200))


def _blobs(home: Path) -> list[Path]:
    return [path for path in (home / "store").rglob("*.r") if path.is_file()]


@pytest.mark.parametrize("how", ["gone", "cut short", "altered"])
def test_a_blob_that_is_gone_cut_or_altered_is_told_and_made_again(home: Path, how: str) -> None:
    results = _blob_scatter()
    victim = sorted(_blobs(home))[4]
    content = victim.read_bytes()
    if how == "gone":
        victim.unlink()
    else:
        victim.write_bytes(content[:-5] if how == "cut short" else content[:-5] + b"xxxxx")
    with pytest.raises(ResultsLost, match="items"):
        list(results)
    assert list(_blob_scatter()) == list(range(100)), "the same call makes them again"


def test_a_store_that_is_another_one_condemns_nothing(home: Path) -> None:
    results = manifold.scatter(lambda x: x, range(100), engine="threads://1", scatter_id="other", chunk_size=10)
    (home / "store").rename(home / "unmounted")
    with pytest.raises(StoreNotShared):
        list(results)
    (home / "store").rmdir() if (home / "store").exists() else None
    (home / "unmounted").rename(home / "store")
    assert list(results) == list(range(100))
    assert open_ledger().suspects(results.uid) == []


def _blob_scatter() -> manifold.Results:
    return manifold.scatter(  # type: ignore[no-any-return]
        lambda x: x, range(100), engine="threads://1", scatter_id="blob", chunk_size=10
    )


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class FailsOver(Monitor):
    """Takes the ledger back to the beginning of the try, once, when the first of its chunks is committed."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.over = False
        self._before: dict[str, list[dict[str, Any]]] = {}

    def emit(self, event: Event) -> None:
        if isinstance(event, ScatterStarted):
            self._before = copied(self.ledger)
        if isinstance(event, ChunkCommitted) and not self.over:
            self.over = True
            fail_over(self.ledger, self._before)


@pytest.mark.parametrize("tolerate", ["0", "50%"])
def test_items_of_the_quarantine_whose_second_run_a_failover_loses_run_once_more(tmp_path: Path, tolerate: str) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", migrate=True)
    broken = True

    def item(number: int) -> int:
        if broken and number in (3, 7):
            raise ValueError("not yet")
        return number

    def scatter(*monitors: Monitor) -> manifold.Results:
        with ByReference(item) as (executor, function):
            return scatter_items(
                function,
                list(range(10)),
                engine=executor,
                ledger=ledger,
                store=f"file://{tmp_path}/store",
                scatter_id="failed over",
                chunk_size=5,
                tolerate=tolerate,
                monitors=monitors,
            )

    with suppress(TooManyFailures):
        scatter()
    broken = False
    assert list(scatter(failing_over := FailsOver(ledger))) == list(range(10))
    assert failing_over.over
    ledger.close()
