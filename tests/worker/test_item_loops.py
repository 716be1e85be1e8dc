"""Functions that are `async def`: which are, on which loop they run, and what becomes of what they leave there."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import threading
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.errors import TooManyFailures
from manifold.protocol.job import is_async
from tests.shared import ByReference

ENGINES = pytest.mark.parametrize("engine", ["threads://3", "processes://2"])


async def plain(x: int) -> int:
    await asyncio.sleep(0)
    return x


class Calls:
    async def __call__(self, x: int) -> int:
        return await plain(x)

    async def method(self, x: int) -> int:
        return await plain(x)

    @classmethod
    async def of_class(cls, x: int) -> int:
        return await plain(x)

    @staticmethod
    async def static(x: int) -> int:
        return await plain(x)


def decorated(fn: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
    @functools.wraps(fn)
    async def wrapper(x: int) -> int:
        return await fn(x)

    return wrapper


def passing(fn: Callable[[int], Awaitable[int]]) -> Callable[[int], Awaitable[int]]:
    @functools.wraps(fn)
    def wrapper(x: int) -> Awaitable[int]:
        return fn(x)

    return wrapper


def synchronous(fn: Callable[[int], Any]) -> Callable[[int], int]:
    @functools.wraps(fn)
    def wrapper(x: int) -> int:
        return int(asyncio.run(fn(x)))

    return wrapper


ASYNC = {
    "async def": plain,
    "method": Calls().method,
    "classmethod": Calls.of_class,
    "staticmethod": Calls.static,
    "object": Calls(),
    "partial": functools.partial(plain),
    "partial of a partial of an object": functools.partial(functools.partial(Calls())),
    "partial of a method": functools.partial(Calls().method),
    "decorated": decorated(plain),
}
SYNC: dict[str, Any] = {
    "wrapper": synchronous(plain),
    "wrapper of a wrapper": functools.partial(synchronous(plain)),
    "class": int,
    "builtin": abs,
    "passes on": passing(plain),
    "lambda": lambda x: plain(x),
}


@pytest.mark.parametrize("fn", ASYNC.values(), ids=list(ASYNC))
def test_these_are_async(fn: Any) -> None:
    assert is_async(fn)
    assert list(manifold.scatter(fn, range(6), engine="threads://1", chunk_size=3)) == list(range(6))


@pytest.mark.parametrize("fn", SYNC.values(), ids=list(SYNC))
def test_these_are_not_and_what_can_be_awaited_is(fn: Any) -> None:
    assert not is_async(fn)
    assert list(manifold.scatter(fn, range(6), engine="threads://1", chunk_size=3)) == list(range(6))


def test_a_plain_function_that_returns_awaitables_has_all_that_async_functions_have(tmp_path: Path) -> None:
    running = [0, 0]
    tries: dict[int, int] = {}

    async def fetch(x: int) -> int:
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(0.01)
        running[0] -= 1
        tries[x] = tries.get(x, 0) + 1
        if x % 3 == 0 and tries[x] < 2:
            raise OSError
        if x == 5:
            raise manifold.SkipItem
        print(f"{x} says")
        return x

    def fn(x: int) -> Awaitable[int]:
        if x in (0, 7):
            raise ValueError("before there is anything to await")
        return fetch(x)

    with ByReference(fn, 1) as (executor, proxy):
        results = manifold.scatter(
            proxy, range(12), engine=executor, chunk_size=12, item_retries=1, tolerate=2, keep_logs=True
        )
    assert list(results) == [1, 2, 3, 4, 6, 8, 9, 10, 11]
    assert [failure.position for failure in results.failures()] == [0, 7]
    assert running[1] > 5
    assert all(line.text == f"{line.pos} says" for line in results.logs())


def test_a_result_to_await_that_comes_late_fails_with_what_to_do() -> None:
    def fn(x: int) -> Any:
        return x if x < 2 else asyncio.sleep(0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it was never awaited
        results = manifold.scatter(fn, range(3), engine="threads://1", chunk_size=3, tolerate=1)
        (failure,) = results.failures()
        gc.collect()
    assert failure.position == 2
    assert "async def" in failure.message


class Client:
    """Good on one loop alone, as clients of most libraries are."""

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.loop = asyncio.get_running_loop()
        self.lock = asyncio.Lock()
        self.connection = self.loop.create_task(self._serve())

    async def _serve(self) -> None:
        await asyncio.Event().wait()

    async def get(self, x: int) -> int:
        assert asyncio.get_running_loop() is self.loop
        assert not self.connection.done()
        async with self.lock:
            await asyncio.sleep(0.0005)
        return x

    async def aclose(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.connection.cancel()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("closed\n")


async def connected(path: str) -> Client:
    await asyncio.sleep(0)
    return Client(path)


@asynccontextmanager
async def managed(path: str) -> AsyncIterator[Client]:
    client = await connected(path)
    yield client
    await client.aclose()


async def use(x: int, client: Client) -> int:
    return await client.get(x)


@ENGINES
@pytest.mark.parametrize("factory", [Client, connected, managed], ids=["class", "async def", "context manager"])
def test_a_client_made_per_worker_serves_every_chunk_and_is_closed_on_its_loop(
    engine: str, factory: Any, tmp_path: Path
) -> None:
    consts = {"client": manifold.per_worker(factory, str(tmp_path / "closed"))}
    results = manifold.scatter(use, range(60), engine=engine, consts=consts, chunk_size=5)
    assert list(results) == list(range(60))
    closed = (tmp_path / "closed").read_text().splitlines()
    assert 1 <= len(closed) <= 3
    assert set(closed) == {"closed"}


def test_an_async_factory_of_a_plain_function_is_refused_with_the_reason() -> None:
    with pytest.raises(Exception, match="async def"):
        manifold.scatter(lambda x, c: x, [1], engine="threads://1", consts={"c": manifold.per_worker(connected, "")})


def test_chunks_of_a_thread_have_one_loop_and_leave_no_task_on_it() -> None:
    seen: list[tuple[int, int, int]] = []
    cancelled: list[int] = []
    held: list[asyncio.Task[None]] = []

    async def forever(x: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(x)
            raise

    async def fn(x: int) -> int:
        held.append(asyncio.get_running_loop().create_task(forever(x)))  # asyncio itself does not hold it
        await asyncio.sleep(0)
        tasks = [task for task in asyncio.all_tasks() if "forever" in repr(task)]
        seen.append((threading.get_ident(), id(asyncio.get_running_loop()), len(tasks)))
        return x

    with ByReference(fn, 2) as (executor, proxy):
        assert list(manifold.scatter(lambda x: proxy(x), range(20), engine=executor, chunk_size=2)) == list(range(20))
        assert len({thread for thread, _, _ in seen}) == len({(thread, loop) for thread, loop, _ in seen})
        assert max(count for _, _, count in seen) <= 2, "those of the chunk alone"
        assert sorted(cancelled) == list(range(20))


def test_an_awaitable_that_an_async_function_returns_is_named_as_what_was_not_awaited() -> None:
    async def fn(x: int) -> object:
        return asyncio.get_running_loop().create_future()

    (failed,) = manifold.scatter(fn, [1], engine="threads://1", tolerate=1).failures()
    assert "await it inside the function" in failed.message


def test_context_variables_of_an_item_are_its_own() -> None:
    var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=-1)

    async def fn(x: int) -> tuple[int, int]:
        before = var.get()
        var.set(x)
        await asyncio.sleep(0.001)
        return before, var.get()

    with ByReference(fn, 1) as (executor, proxy):
        results = manifold.scatter(lambda x: proxy(x), range(10), engine=executor, chunk_size=5, async_concurrency=2)
        assert list(results) == [(-1, x) for x in range(10)]


@ENGINES
def test_an_item_that_stops_the_loop_or_cancels_itself_has_its_outcome(engine: str) -> None:
    kept: list[asyncio.Task[None]] = []

    async def fn(x: int) -> int:
        if x == 2:
            asyncio.get_running_loop().stop()
        if x == 3:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        if x == 4:
            kept.append(asyncio.create_task(_interrupting()))
        await asyncio.sleep(0.01)
        return x

    results = manifold.scatter(fn, range(12), engine=engine, chunk_size=6, tolerate=1)
    assert list(results) == [x for x in range(12) if x != 3]
    assert [failure.type for failure in results.failures()] == ["asyncio.exceptions.CancelledError"]


@pytest.mark.parametrize("engine", ["threads://1", "processes://1"])
def test_an_item_that_cancels_all_tasks_of_its_loop_ends_neither_chunk_nor_scatter(engine: str) -> None:
    async def fn(x: int) -> int:
        if x == 5:
            for task in asyncio.all_tasks():
                task.cancel()
        await asyncio.sleep(0.01)
        return x

    results = manifold.scatter(
        fn, range(12), engine=engine, chunk_size=6, tolerate="100%", async_concurrency=3, item_retries=1,
        retry_on=["asyncio.CancelledError"], item_backoff=0,
    )  # fmt: skip
    failed = [failure.position for failure in results.failures()]
    assert 5 in failed
    assert set(failed) <= {3, 4, 5}, "those that ran beside it at most"
    assert list(results) == [x for x in range(12) if x not in failed]


async def _interrupting() -> None:
    raise KeyboardInterrupt


def test_an_item_timeout_stays_right_on_a_loop_that_has_served_before() -> None:
    async def fn(x: int) -> int:
        await asyncio.sleep(60 if x % 5 == 4 else 0)
        return x

    results = manifold.scatter(fn, range(20), engine="threads://1", chunk_size=5, item_timeout=0.2, tolerate=4)
    assert [failure.type for failure in results.failures()] == ["manifold.errors.ItemTimeout"] * 4


def test_it_works_where_the_caller_runs_a_loop_itself(tmp_path: Path) -> None:
    consts = {"client": manifold.per_worker(Client, str(tmp_path / "closed"))}

    async def notebook() -> list[int]:
        return list(manifold.scatter(use, range(9), engine="threads://2", consts=consts, chunk_size=3))

    assert asyncio.run(notebook()) == list(range(9))
    assert (tmp_path / "closed").exists()


def test_no_more_items_are_begun_than_run_at_once() -> None:
    begun: list[float] = []

    async def fn(x: int) -> int:
        begun.append(time.monotonic())
        await asyncio.sleep(0.001)
        if x == 3:
            raise ValueError
        return x

    with ByReference(fn, 1) as (executor, proxy), pytest.raises(TooManyFailures):
        manifold.scatter(
            lambda x: proxy(x), range(1000), engine=executor, chunk_size=1000, async_concurrency=5, tolerate=0
        )
    assert len(begun) < 1000
