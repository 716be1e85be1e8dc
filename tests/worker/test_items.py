"""What becomes of each item: results in order, failures, skips, retries, timeouts."""

from __future__ import annotations

import asyncio
import math
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.errors import ConfigError, MissingExtra, ScatterError, TooManyFailures
from tests.shared import ByReference


def double(x: int) -> int:
    return 2 * x


def test_results_come_in_the_order_of_the_items() -> None:
    results = manifold.scatter(double, range(1000), engine="threads://3", chunk_size=7)
    assert list(results) == [2 * x for x in range(1000)]
    assert list(results.pairs()) == [(x, 2 * x) for x in range(1000)]


@pytest.mark.parametrize("items", [[], range(0), iter(())], ids=["list", "range", "iterator"])
def test_an_empty_input_succeeds_with_zero_items(items: Any) -> None:
    results = manifold.scatter(double, items, engine="threads://1")
    assert list(results) == []
    assert results.summary()["total"] == 0
    assert results.summary()["state"] == "succeeded"


@pytest.mark.parametrize(
    "value",
    [None, b"\0\xff", "{{ not rendered }} {% at all", math.inf, ("a", 1), {"deep": [{"er": 1}]}, 2**80],
    ids=repr,
)
def test_items_arrive_and_return_as_they_are(value: Any) -> None:
    assert list(manifold.scatter(lambda x: x, [value, value], engine="threads://1")) == [value, value]


def test_nan_arrives_as_nan() -> None:
    assert math.isnan(manifold.scatter(lambda x: x, [math.nan], engine="threads://1")[0])


def test_an_item_of_50_mb_travels_alone() -> None:
    items = [bytes(50_000_000), b"", bytes(50_000_000), b"x"]
    assert list(manifold.scatter(len, items, engine="threads://1")) == [50_000_000, 0, 50_000_000, 1]


def test_a_function_may_be_a_closure_a_lambda_or_a_method() -> None:
    class Adder:
        def __init__(self, by: int) -> None:
            self.by = by

        def add(self, x: int) -> int:
            return x + self.by

    base = 10
    assert list(manifold.scatter(lambda x: x + base, [1], engine="threads://1")) == [11]
    assert list(manifold.scatter(Adder(5).add, [1], engine="threads://1")) == [6]


def test_several_inputs_are_walked_in_step_and_passed_by_keyword() -> None:
    def area(w: int, h: int, scale: int) -> int:
        return w * h * scale

    results = manifold.scatter(area, {"w": [1, 2, 3], "h": range(4, 7)}, consts={"scale": 10}, engine="threads://2")
    assert list(results) == [40, 100, 180]


def test_a_single_input_is_passed_by_keyword_as_it_is() -> None:
    results = manifold.scatter(lambda row: row, {"row": ["a", ("b",)]}, engine="threads://2")
    assert list(results) == ["a", ("b",)]


def test_inputs_of_unequal_length_fail_before_anything_runs() -> None:
    ran = []
    with pytest.raises(ConfigError, match="h"):
        manifold.scatter(lambda w, h: ran.append(w), {"w": [1, 2, 3], "h": [1]}, engine="threads://1")
    assert not ran


def test_a_failed_item_leaves_its_neighbours_alone() -> None:
    def picky(x: int) -> int:
        if x == 5:
            raise ValueError("five is right out")
        return x

    results = manifold.scatter(
        picky, range(10), engine="threads://1", tolerate=1, chunk_size=10, key=lambda x: f"no{x}"
    )
    assert list(results) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    (failure,) = results.failures()
    assert (failure.position, failure.key, failure.type, failure.message) == (
        5,
        "no5",
        "ValueError",
        "five is right out",
    )
    assert "picky" in failure.traceback
    assert "manifold/worker/" not in failure.traceback
    assert failure.item == 5


def test_skipped_items_count_as_skipped_and_are_no_failures() -> None:
    def even(x: int) -> int:
        if x % 2:
            raise manifold.SkipItem("odd")
        return x

    results = manifold.scatter(even, range(10), engine="threads://1")
    assert list(results) == [0, 2, 4, 6, 8]
    assert results.summary()["skipped"] == 5


def test_item_retries_run_an_item_again_in_place() -> None:
    tries: dict[int, int] = {}
    lock = threading.Lock()

    def flaky(x: int) -> int:
        with lock:
            tries[x] = tries.get(x, 0) + 1
        if tries[x] < 3 and x % 2:
            raise OSError("not yet")
        return x

    # Threads of this process, by an executor of our own, so that `tries` is shared with the function.
    results = _in_this_process(flaky, range(6), item_retries=2)
    assert list(results) == list(range(6))
    assert tries == {0: 1, 1: 3, 2: 1, 3: 3, 4: 1, 5: 3}


def test_no_retry_on_wins_over_retry_on() -> None:
    tries: list[int] = []

    def fails(x: int) -> None:
        tries.append(x)
        raise FileNotFoundError("gone")

    _in_this_process(fails, [1], item_retries=3, retry_on=OSError, no_retry_on="FileNotFoundError", tolerate=1)
    assert tries == [1]


def test_retry_item_says_when() -> None:
    seen: list[float] = []

    def busy(x: int) -> int:
        seen.append(time.monotonic())
        if len(seen) == 1:
            raise manifold.RetryItem("busy", after=0.3)
        return x

    assert list(_in_this_process(busy, [7], item_retries=1)) == [7]
    assert seen[1] - seen[0] >= 0.3


def test_airflows_fail_exception_is_not_retried() -> None:
    tries: list[int] = []

    class AirflowFailException(Exception):
        pass

    def fails(x: int) -> None:
        tries.append(x)
        raise AirflowFailException("for good")

    _in_this_process(fails, [1], item_retries=3, tolerate=1)
    assert tries == [1]


def test_async_functions_run_at_once_within_a_chunk() -> None:
    async def slow(x: int) -> int:
        await asyncio.sleep(0.2)
        if x == 3:
            raise ValueError("three")
        if x == 4:
            raise manifold.SkipItem
        return x

    began = time.monotonic()
    results = manifold.scatter(slow, range(50), engine="threads://1", chunk_size=50, tolerate=1)
    assert time.monotonic() - began < 50 * 0.2 / 2
    assert list(results) == [x for x in range(50) if x not in (3, 4)]
    assert [failure.position for failure in results.failures()] == [3]


def test_no_more_async_items_run_at_once_than_async_concurrency_says() -> None:
    running = set()

    async def how_many(x: int) -> int:
        running.add(x)
        await asyncio.sleep(0.01)
        found = len(running)
        running.remove(x)
        return found

    assert max(manifold.scatter(how_many, range(30), engine="threads://1", chunk_size=30, async_concurrency=4)) == 4


def test_an_async_item_past_its_timeout_fails_and_a_timeout_of_its_own_is_none_of_ours() -> None:
    async def wait(x: int) -> int:
        if x == 1:
            await asyncio.sleep(60)
        if x == 2:
            raise TimeoutError("the server did not answer")
        return x

    results = manifold.scatter(wait, range(4), engine="threads://1", chunk_size=4, item_timeout=0.5, tolerate=2)
    assert list(results) == [0, 3]
    ours, own = results.failures()
    assert ours.type == "manifold.errors.ItemTimeout"
    assert "item_timeout=0.5 s" in ours.message
    assert (own.type, own.message) == ("TimeoutError", "the server did not answer")


def test_an_async_item_that_waits_for_its_pace_does_not_run_meanwhile() -> None:
    async def short(x: int) -> int:
        await asyncio.sleep(0)
        return x

    options: dict[str, Any] = {"item_timeout": 0.3, "rate_limit": 10}
    results = manifold.scatter(short, range(8), engine="threads://1", chunk_size=8, tolerate="100%", **options)
    assert [failure.message for failure in results.failures()] == []
    assert list(results) == list(range(8))


def test_an_async_item_that_raises_cancelled_error_fails_like_any_other() -> None:
    async def cancelled(x: int) -> int:
        if x % 2 == 0:
            raise asyncio.CancelledError
        return x

    results = manifold.scatter(cancelled, range(4), engine="threads://1", chunk_size=4, tolerate=2)
    assert list(results) == [1, 3]
    assert {failure.type for failure in results.failures()} == {"asyncio.exceptions.CancelledError"}


def test_a_result_that_cannot_be_pickled_fails_that_item_alone() -> None:
    results = manifold.scatter(
        lambda x: threading.Lock() if x == 2 else x, range(4), engine="threads://1", chunk_size=4, tolerate=1
    )
    assert list(results) == [0, 1, 3]
    (failure,) = results.failures()
    assert "cannot be pickled" in failure.message


def test_an_item_that_cannot_be_pickled_fails_alone_with_the_reason() -> None:
    items = [1, threading.Lock(), 3]
    results = manifold.scatter(lambda x: x, items, engine="threads://1", chunk_size=3, tolerate=1)
    assert list(results) == [1, 3]
    (failure,) = results.failures()
    assert failure.position == 1
    assert "cannot be pickled" in failure.message


class Treacherous:
    """Is pickled, and will not be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, ()


def _explode() -> None:
    raise RuntimeError("not in here")


def test_an_item_that_cannot_be_unpickled_fails_alone_with_the_reason() -> None:
    results = manifold.scatter(lambda x: x, [1, Treacherous(), 3], engine="threads://1", chunk_size=3, tolerate=1)
    assert list(results) == [1, 3]
    (failure,) = results.failures()
    assert "not in here" in failure.message


def test_a_function_that_changes_its_item_does_not_change_the_quarantine() -> None:
    def spoil(x: dict[str, int]) -> None:
        x["spoiled"] = 1
        raise ValueError("no")

    results = manifold.scatter(spoil, [{"a": 1}], engine="threads://1", tolerate=1)
    assert next(iter(results.failures())).item == {"a": 1}


def test_more_failures_than_tolerated_end_the_scatter_early() -> None:
    ran: list[int] = []

    def fails(x: int) -> None:
        ran.append(x)
        raise ValueError("no")

    with pytest.raises(TooManyFailures, match="tolerate allows 3"):
        _in_this_process(fails, range(100_000), tolerate=3, chunk_size=10)
    assert len(ran) < 200


def test_the_breaker_ends_a_scatter_whose_first_items_fail_alike() -> None:
    def fails(x: int) -> None:
        raise ValueError("misconfigured")

    with pytest.raises(TooManyFailures, match="failed alike"):
        manifold.scatter(fails, range(1000), engine="threads://1", tolerate="100%", stop_after_same_error=5)


def test_tolerate_as_a_percentage_counts_of_all_items() -> None:
    def some(x: int) -> int:
        if x % 100 == 0:
            raise ValueError("one in a hundred")
        return x

    assert len(manifold.scatter(some, range(1000), engine="threads://2", tolerate="1%")) == 990
    with pytest.raises(TooManyFailures):
        manifold.scatter(some, range(1000), engine="threads://2", tolerate="0.9%")


def test_reduce_folds_in_item_order_around_failures_and_skips() -> None:
    def letter(x: int) -> str:
        if x % 10 == 3:
            raise ValueError("no")
        if x % 10 == 4:
            raise manifold.SkipItem
        return chr(ord("a") + x % 26)

    results = manifold.scatter(
        letter, range(100), engine="threads://3", chunk_size=9, reduce=lambda a, b: a + b, initial=">", tolerate=10
    )
    wanted = "".join(chr(ord("a") + x % 26) for x in range(100) if x % 10 not in (3, 4))
    assert results.value() == ">" + wanted


def test_an_exception_in_reduce_ends_the_scatter_and_blames_no_item() -> None:
    def clumsy(a: int, b: int) -> int:
        raise ZeroDivisionError("in reduce")

    with pytest.raises(ScatterError, match="reduce"):
        manifold.scatter(double, range(10), engine="threads://1", chunk_size=5, reduce=clumsy)


def test_what_an_item_prints_or_logs_reaches_the_monitors_with_its_position() -> None:
    from manifold import events
    from manifold.abc import Monitor

    class Listener(Monitor):
        def __init__(self) -> None:
            self.lines: list[tuple[int, str]] = []

        def emit(self, event: events.Event) -> None:
            if isinstance(event, events.ChunkCommitted):
                self.lines += [(line.pos, line.text) for line in event.lines]

    def chatty(x: int) -> int:
        print(f"item {x}")
        return x

    listener = Listener()
    manifold.scatter(chatty, range(3), engine="threads://1", chunk_size=3, monitors=[listener])
    assert listener.lines == [(0, "item 0"), (1, "item 1"), (2, "item 2")]


def test_secrets_in_what_an_item_prints_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from manifold import redaction

    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2-hunter2")
    redaction._of_environment.cache_clear()
    assert redaction.mask("the password is hunter2-hunter2.") == "the password is ***."


def test_a_one_shot_iterator_of_unknown_length_works() -> None:
    def numbers() -> Iterator[int]:
        yield from range(500)

    results = manifold.scatter(double, numbers(), engine="threads://2", chunk_size=7)
    assert list(results) == [2 * x for x in range(500)]
    assert results.total == 500


def test_input_is_read_only_as_fast_as_it_is_dispatched() -> None:
    read: list[int] = []
    ahead: list[int] = []

    def numbers() -> Iterator[int]:
        for x in range(2000):
            read.append(x)
            yield x

    def look(x: int) -> int:
        ahead.append(len(read) - len(ahead))  # read, and not run
        return x

    assert len(_in_this_process(look, numbers(), chunk_size=5)) == 2000
    assert max(ahead) <= 5 * 2 * 2 + 5  # two slots, two chunks each, and one in the making


@pytest.mark.parametrize(
    "options",
    [
        {"tolerate": "abc"},
        {"tolerate": -1},
        {"tolerate": "101%"},
        {"chunk_size": 0},
        {"chunk_size": 70_000},
        {"rate_limit": -1},
        {"rate_limit": 0},
        {"item_backoff": -1},
        {"item_timeout": 0},
        {"item_timeout": 1},
        {"item_retries": -1},
        {"item_retries": True},
        {"max_concurrency": 0},
        {"retry_on": 3},
        {"reduce": "sum"},
        {"resume": "maybe"},
        {"no_such_option": 1},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused_by_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=name):
        manifold.scatter(double, [1], engine="threads://1", **options)


def _in_this_process(fn: Any, items: Any, **options: Any) -> manifold.Results:
    """Over an executor that hands the function itself to the worker, so that closures are shared with the test."""
    with ByReference(fn) as (engine, proxy):
        return manifold.scatter(proxy, items, engine=engine, **options)  # type: ignore[no-any-return]


def test_large_constants_reach_each_worker_by_way_of_the_store() -> None:
    table = {x: str(x) * 10 for x in range(50_000)}

    def look_up(x: int, table: dict[int, str]) -> str:
        return table[x]

    results = manifold.scatter(look_up, range(1000), engine="processes://2", consts={"table": table}, chunk_size=10)
    assert results[999] == table[999]


def test_items_may_be_given_by_keyword() -> None:
    assert list(manifold.scatter(double, items=[1, 2], engine="threads://1")) == [2, 4]


def test_without_airflow_its_decorator_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "manifold.airflow.decorator", raising=False)
    monkeypatch.setitem(sys.modules, "airflow.sdk", None)
    with pytest.raises(MissingExtra, match=r"In plain Python write scatter\(function, items, …\)"):
        manifold.scatter(double)


@pytest.mark.parametrize("where", [{"engine": 3}, {"store": 3}, {"ledger": 3}, {"store": Path("here")}], ids=str)
def test_what_is_no_url_is_refused_by_its_value(where: dict[str, Any]) -> None:
    (value,) = where.values()
    with pytest.raises(ConfigError, match=re.escape(repr(value).removesuffix(")"))):
        manifold.scatter(double, [1], **{"engine": "threads://1"} | where)
