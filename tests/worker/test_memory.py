"""The coordinator's memory: what is out is kept as it travels, and the dead are forgotten."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

import manifold
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.held import HeldItems
from manifold.coordinator.losses import MASS_SECONDS, Losses
from manifold.errors import WorkerLost
from manifold.ledger.connection import Database
from manifold.protocol import envelope, salvage
from manifold.worker.execute import Execution
from tests.shared import ByReference


@dataclass
class Row:
    number: int
    text: str


def rows(count: int) -> Iterator[Row]:
    for number in range(count):
        yield Row(number, f"row {number}")


def alive() -> int:
    gc.collect()
    return sum(type(one) is Row for one in gc.get_objects())


class Holding(ThreadPoolExecutor):
    """Takes chunks, and runs none before it is told to."""

    def __init__(self) -> None:
        super().__init__(2)
        self.go = threading.Event()
        self.taken = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.taken += 1
        return super().submit(lambda: (self.go.wait(60), fn(*args, **kwargs))[1])


def test_items_of_chunks_that_are_out_are_kept_as_bytes() -> None:
    found: list[int] = []
    with ByReference(lambda row: row.number) as (_, proxy), Holding() as engine:

        def look() -> None:
            while engine.taken < 4:
                time.sleep(0.01)
            found.append(alive())
            engine.go.set()

        watcher = threading.Thread(target=look)
        watcher.start()
        results = manifold.scatter(proxy, rows(8_000), engine=engine, chunk_size=2_000)
        watcher.join()
    assert list(results) == list(range(8_000))
    assert found[0] < 4_000, "at most the chunk that is being made"


def held(values: list[Any]) -> HeldItems:
    data = envelope.dumps(values)
    return HeldItems(len(values), lambda: data)


def test_a_chunk_that_is_out_is_cut_and_packed_as_before() -> None:
    chunk = Chunk(10, 15, held([1, "b", [3], Row(4, "x"), None]))
    assert len(chunk) == 5
    assert envelope.loads(chunk.pack()["packed"]) == [1, "b", [3], Row(4, "x"), None]
    parts = chunk.split(2)
    assert [list(part.items) for part in parts] == [[1, "b"], [[3]], [Row(4, "x")], [None]]
    chunk.each = True
    assert [envelope.loads(one) for one in chunk.pack()["each"]] == [1, "b", [3], Row(4, "x"), None]


class Refusing:
    def __reduce__(self) -> Any:
        return int, ("rubbish",)


def test_an_item_of_it_that_cannot_be_unpickled_is_told_alone() -> None:
    chunk = Chunk(0, 3, held([1, {"a": Refusing()}, 3]), each=True)
    first, second, third = chunk.pack()["each"]
    assert (envelope.loads(first), envelope.loads(third)) == (1, 3)
    assert "rubbish" in second.reason
    assert isinstance(chunk.items[1], salvage.Unreadable)


@pytest.mark.parametrize("items", [[1, Refusing(), 3]])
def test_a_generator_with_an_item_that_cannot_be_unpickled_fails_that_item_alone(items: list[Any]) -> None:
    results = manifold.scatter(lambda x: x, iter(items), engine="threads://1", chunk_size=3, tolerate=1)
    assert list(results) == [1, 3]
    (failed,) = results.failures()
    assert "rubbish" in failed.message


def test_the_dead_are_forgotten_with_their_items() -> None:
    losses = Losses()
    chunk = Chunk(0, 3, [1, 2, 3])
    lost = WorkerLost("it is gone")
    lost.started = lost.died = lost.witnessed = True
    lost.worker = "host:1"
    losses.judge(chunk, lost, 0.0, [])
    gone = weakref.ref(chunk)
    del chunk
    gc.collect()
    assert gone() is None
    losses.judge(Chunk(3, 4, [4]), lost, MASS_SECONDS + 1.0, [])
    assert len(losses._deaths) == 1


async def _awaited(x: int) -> int:
    return x


@pytest.mark.parametrize("fn", [abs, _awaited], ids=["plain", "async"])
def test_what_a_chunk_held_goes_when_it_ends_and_not_when_garbage_is_collected(
    fn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Execution]] = []
    init = Execution.__init__

    def noted(self: Execution, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Execution, "__init__", noted)
    gc.collect()
    gc.disable()
    try:
        manifold.scatter(fn, range(50), engine="threads://1", chunk_size=10)
        assert [execution() for execution in made] == [None] * 5
    finally:
        gc.enable()


def test_what_a_scatter_held_goes_with_its_results_without_a_collection() -> None:
    results = manifold.scatter(len, ["a", "bb", "ccc"], engine="threads://1")
    gc.collect()
    gc.disable()
    try:
        before = {id(one) for one in gc.get_objects() if isinstance(one, Database)}
        results = manifold.scatter(len, ["a", "bb", "ccc"], engine="threads://1")
        (made,) = [weakref.ref(one) for one in gc.get_objects() if isinstance(one, Database) and id(one) not in before]
        assert list(results) == [1, 2, 3]
        del results
        assert made() is None
    finally:
        gc.enable()
