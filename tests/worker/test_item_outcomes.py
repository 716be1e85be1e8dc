"""An item's outcome is its own: whatever it raises, and however often it is executed, on the item as it came."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.errors import EngineError, ScatterError
from manifold.protocol import envelope
from manifold.protocol.task import Broken
from manifold.worker.originals import Originals
from tests.shared import ByReference


class Own(BaseException):
    """An exception of a kind of its own."""


RAISED = [KeyboardInterrupt, GeneratorExit, SystemExit, asyncio.CancelledError, StopIteration, StopAsyncIteration, Own]
ENGINES = pytest.mark.parametrize("engine", ["threads://2", "processes://1"])


@ENGINES
@pytest.mark.parametrize("kind", ["sync", "async", "in a task", "awaitable"])
def test_whatever_an_item_raises_is_its_outcome(engine: str, kind: str) -> None:
    def sync(x: int) -> int:
        if x % 2:
            raise RAISED[x // 2]("no")
        return x

    async def plain(x: int) -> int:
        await asyncio.sleep(0)
        return sync(x)

    async def tasked(x: int) -> int:
        return await asyncio.gather(plain(x), asyncio.sleep(0))  # type: ignore[return-value]

    fn = {"sync": sync, "async": plain, "in a task": tasked, "awaitable": lambda x: plain(x)}[kind]
    count = 2 * len(RAISED)
    results = manifold.scatter(fn, range(count), engine=engine, chunk_size=count, tolerate="100%")
    assert len(results) == len(RAISED)
    types = [failure.type.rpartition(".")[2] for failure in results.failures()]
    wanted = [error.__name__ for error in RAISED]
    if kind != "sync":  # as asyncio has it
        wanted[RAISED.index(StopIteration)] = "RuntimeError"
    assert types == wanted


@pytest.mark.parametrize("kind", ["sync", "async", "awaitable"])
def test_a_traceback_shows_the_authors_frames_alone(kind: str) -> None:
    def sync(x: int) -> None:
        if x == 0:
            raise ValueError
        if x == 1:
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
        time.sleep(60)

    async def later(x: int) -> None:
        if x == 2:
            await asyncio.sleep(60)
        sync(x)

    fn = {"sync": sync, "async": later, "awaitable": lambda x: later(x)}[kind]
    results = manifold.scatter(fn, range(3), engine="processes://1", chunk_size=3, item_timeout=0.5, tolerate=3)
    failures = results.failures()
    assert [failure.type.rpartition(".")[2] for failure in failures] == ["ValueError", "TypeError", "ItemTimeout"]
    assert not any("manifold/worker/" in failure.traceback for failure in failures)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_retry_that_raises_so_is_no_end_either(kind: str) -> None:
    def sync(x: int) -> int:
        raise OSError if not tries.setdefault(x, 0) else RAISED[x]

    async def later(x: int) -> int:
        try:
            return sync(x)
        finally:
            tries[x] += 1

    def fn(x: int) -> int:
        try:
            return sync(x)
        finally:
            tries[x] += 1

    tries: dict[int, int] = {}
    with ByReference(later if kind == "async" else fn, 1) as (executor, proxy):
        call: Any = proxy
        if kind == "async":
            call = lambda x: proxy(x)  # noqa: E731 - it returns what is to be awaited
        results = manifold.scatter(call, range(3), engine=executor, chunk_size=3, item_retries=3, tolerate="100%")
    assert [failure.attempts for failure in results.failures()] == [2, 2, 2]


def test_nor_is_a_key_that_does() -> None:
    def key(x: int) -> str:
        raise Own

    def fn(x: int) -> int:
        raise ValueError

    results = manifold.scatter(fn, range(3), engine="threads://1", key=key, tolerate="100%")
    assert [failure.key for failure in results.failures()] == ["(key failed: Own)"] * 3


class Shy:
    """Raises where it is to be shown."""

    def __repr__(self) -> str:
        raise Own


class Mute(Exception):
    """The same, of an error."""

    def __str__(self) -> str:
        raise SystemExit


def test_nor_are_an_item_and_an_error_that_do_when_they_are_shown() -> None:
    def fn(x: Shy) -> None:
        raise Mute

    results = manifold.scatter(fn, [Shy(), Shy()], engine="threads://1", tolerate=2)
    assert [failure.item_repr for failure in results.failures()] == ["<Shy, whose repr raises Own>"] * 2
    assert [failure.message for failure in results.failures()] == ["<its str() raises SystemExit>"] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, Own])
def test_a_reduce_function_that_does_ends_the_scatter_as_any_error_in_it(error: type[BaseException]) -> None:
    def reduce(a: int, b: int) -> int:
        raise error

    with pytest.raises(ScatterError, match="reduce"):
        manifold.scatter(lambda x: x, range(5), engine="threads://1", reduce=reduce)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_so_is_a_factory_that_does(error: type[BaseException]) -> None:
    def factory() -> None:
        raise error("no client")

    with pytest.raises((EngineError, RuntimeError), match="no client"):
        manifold.scatter(lambda x, c: x, range(5), engine="threads://1", consts={"c": manifold.per_worker(factory)})


_CTRL_C = """
import os, signal, sys, threading, time
import manifold

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it

def fn(x):
    if x == 55:  # not while the pool starts its thread, which it then would not wait for
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    return x

try:
    manifold.scatter(fn, range(100), engine="threads://1", chunk_size=10)
except KeyboardInterrupt:
    print("interrupted")
print(type(sys.stdout).__name__, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_a_real_ctrl_c_ends_the_scatter() -> None:
    done = subprocess.run([sys.executable, "-c", _CTRL_C], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["interrupted", "TextIOWrapper True"]


class Inline(Executor):
    """Runs calls where they are submitted: in the main thread, where signals arrive."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:  # noqa: BLE001 - the future's
            future.set_exception(exc)
        return future


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as in a terminal: a job in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("real", [True, False])
def test_in_the_main_thread_too_and_one_that_is_raised_does_not(kind: str, real: bool) -> None:
    def sync(x: int) -> int:
        if x == 3 and real:
            signal.raise_signal(signal.SIGINT)
            time.sleep(1)
        if x == 3:
            raise KeyboardInterrupt
        return x

    async def later(x: int) -> int:
        return sync(x)

    assert threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    fn: Any = sync if kind == "sync" else later
    if real:
        with pytest.raises(KeyboardInterrupt):
            manifold.scatter(fn, range(10), engine=Inline(), chunk_size=10)
    else:
        results = manifold.scatter(fn, range(10), engine=Inline(), chunk_size=10, tolerate=1)
        assert [failure.type for failure in results.failures()] == ["KeyboardInterrupt"]
    assert signal.getsignal(signal.SIGINT) is handler


# -- each execution has the item as it came ----------------------------------------------------------------------------


def spoil(x: dict[str, Any]) -> int:
    """Change the item at each level, then fail, until the third execution."""
    mark = Path(x["folder"], f"{x['id']}")
    tries = len(mark.read_text()) if mark.exists() else 0
    mark.write_text("x" * (tries + 1))
    number: int = x.pop("id")
    x["rows"].append("more")
    x["deep"]["er"].clear()
    if tries < 2:
        raise ConnectionError("not yet")
    assert x["rows"] == ["one", "more"]
    return number


def items(folder: Path, count: int = 5) -> list[dict[str, Any]]:
    return [{"id": i, "rows": ["one"], "deep": {"er": {1: 2}}, "folder": str(folder)} for i in range(count)]


@ENGINES
@pytest.mark.parametrize("kind", ["sync", "async", "in kwargs"])
def test_a_retry_gets_the_item_that_came(engine: str, kind: str, tmp_path: Path) -> None:
    async def later(x: dict[str, Any]) -> int:
        await asyncio.sleep(0)
        return spoil(x)

    def named(row: dict[str, Any], no: int) -> int:
        return spoil(row)

    given: Any = {"row": items(tmp_path), "no": range(5)} if kind == "in kwargs" else items(tmp_path)
    fn = {"sync": spoil, "async": later, "in kwargs": named}[kind]
    results = manifold.scatter(fn, given, engine=engine, item_retries=2, chunk_size=5)
    assert list(results) == list(range(5))


def test_iterators_as_items_are_not_used_up_by_the_first_execution() -> None:
    seen: list[list[int]] = []

    def fn(x: Iterator[int]) -> int:
        seen.append(list(x))
        if len(seen) < 3:
            raise OSError
        return sum(seen[-1])

    with ByReference(fn, 1) as (executor, proxy):
        assert list(manifold.scatter(proxy, [iter([1, 2])], engine=executor, item_retries=2)) == [3]
    assert seen == [[1, 2]] * 3


@ENGINES
def test_what_is_quarantined_is_the_item_that_came(engine: str, tmp_path: Path) -> None:
    def fn(x: dict[str, Any]) -> None:
        x["rows"].append(x.pop("id"))
        raise ConnectionError

    results = manifold.scatter(
        fn, items(tmp_path), engine=engine, item_retries=2, tolerate="100%", key=lambda row: row.pop("id")
    )
    assert [failure.item for failure in results.failures()] == items(tmp_path)
    assert [failure.key for failure in results.failures()] == list("01234")
    assert all("'id'" in failure.item_repr for failure in results.failures())


def test_the_callers_own_items_are_not_changed(tmp_path: Path) -> None:
    given = items(tmp_path)
    manifold.scatter(lambda x: x.clear(), given, engine="threads://2")
    assert given == items(tmp_path)


def test_nothing_is_unpickled_again_unless_an_item_fails_and_then_once() -> None:
    loads = []

    def load() -> list[Any]:
        loads.append(1)
        return [[i] for i in range(1000)]

    originals = Originals(load)
    assert not loads
    for index in range(1000):
        copy = originals.fresh(index)
        copy.append("changed")
        assert originals.fresh(index) == originals.item(index) == [index]
    assert len(loads) == 1


def test_items_that_cannot_change_are_not_even_copied() -> None:
    values: list[Any] = [1, "text", b"bytes", None, 1.5, Broken("reason", "shown")]
    originals = Originals(lambda: values)
    assert all(originals.fresh(index) is value for index, value in enumerate(values))


class Once:
    """Comes out of a pickle, and does not go into one again."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __reduce__(self) -> Any:
        raise TypeError("not again")


def test_an_item_that_goes_into_no_second_pickle_is_unpickled_with_its_chunk() -> None:
    originals = Originals(lambda: [Once()])
    originals.fresh(0).rows.append(1)
    assert originals.fresh(0).rows == []
    assert originals.packed(0) is None
    assert envelope.dumps_if_possible(Once()) is None
