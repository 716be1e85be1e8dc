"""Pace, copies, and what people ask of a running scatter."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import manifold
from manifold.abc import Monitor
from manifold.errors import Cancelled
from manifold.events import Event, ScatterEnded
from manifold.ledger import Ledger, open_ledger, verify
from tests.shared import ByReference


class Running:
    """A scatter in a thread of its own."""

    def __init__(self, fn: Any, items: Any, **options: Any) -> None:
        self.error: BaseException | None = None
        self.results: manifold.Results | None = None
        self._thread = threading.Thread(target=self._run, args=(fn, items, options))
        self._thread.start()
        self.ledger: Ledger = open_ledger()
        wait_for(lambda: self.ledger.find("job") is not None)

    def _run(self, fn: Any, items: Any, options: dict[str, Any]) -> None:
        try:
            with ByReference(fn) as (engine, proxy):
                self.results = manifold.scatter(proxy, items, engine=engine, scatter_id="job", **options)
        except BaseException as exc:  # noqa: BLE001 - shown by the test
            self.error = exc

    def ask(self, verb: str, **value: Any) -> None:
        row = self.ledger.find("job")
        assert row is not None
        self.ledger.control(row.uid, verb, value, "the test")

    def done(self) -> int:
        row = self.ledger.find("job")
        return row.done if row is not None else 0

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


class Seen(Monitor):
    """A monitor that keeps how tries ended."""

    def __init__(self) -> None:
        self.ends: list[ScatterEnded] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, ScatterEnded):
            self.ends.append(event)


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def slow(x: int) -> int:
    time.sleep(0.01)
    return x


def test_pause_stops_dispatch_within_two_seconds_and_resume_goes_on() -> None:
    running = Running(slow, range(1500), chunk_size=5)
    wait_for(lambda: running.done() > 20)
    running.ask("pause")
    time.sleep(2.5)
    before = running.done()
    time.sleep(0.5)
    assert running.done() == before < 1500
    running.ask("resume")
    running.end()
    assert running.results is not None
    assert len(running.results) == 1500


def test_cancel_ends_it_and_keeps_what_is_committed() -> None:
    running = Running(slow, range(100_000), chunk_size=5)
    wait_for(lambda: running.done() > 20)
    running.ask("cancel")
    running.end()
    assert isinstance(running.error, Cancelled)
    row = running.ledger.find("job")
    assert row is not None
    assert row.state == "cancelled"
    assert 20 < row.done < 100_000
    assert verify(running.ledger, row.uid) == []


def test_drain_commits_what_runs_and_leaves_the_rest_for_the_next_try() -> None:
    running = Running(slow, range(3000), chunk_size=5)
    wait_for(lambda: running.done() > 20)
    running.ask("drain")
    running.end()
    assert isinstance(running.error, Cancelled)
    row = running.ledger.find("job")
    assert row is not None
    assert row.state == "running"
    assert row.owner is None
    with ByReference(lambda x: x) as (engine, proxy):
        assert len(manifold.scatter(proxy, range(3000), engine=engine, scatter_id="job")) == 3000


def test_a_try_that_leaves_the_rest_does_not_end_as_running() -> None:
    seen = Seen()
    running = Running(slow, range(3000), chunk_size=5, monitors=[seen])
    wait_for(lambda: running.done() > 20)
    running.ask("drain")
    running.end()
    assert [(event.state, event.final) for event in seen.ends] == [("drained", False)]
    assert "drained by the test" in (seen.ends[0].message or "")

    def dies(x: int) -> int:
        raise ValueError(x)

    with ByReference(dies) as (engine, proxy), pytest.raises(manifold.ManifoldError):
        manifold.scatter(proxy, range(10), engine=engine, monitors=[seen])
    assert (seen.ends[1].state, seen.ends[1].final) == ("failed", True)


def test_a_try_whose_engine_breaks_ends_as_stopped() -> None:
    seen = Seen()
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        manifold.scatter(slow, range(10), engine=pool, monitors=[seen])
    assert [(event.state, event.final) for event in seen.ends] == [("stopped", False)]
    assert "after shutdown" in (seen.ends[0].message or "")


def test_settings_change_while_it_runs() -> None:
    running = Running(slow, range(100_000), chunk_size=5, rate_limit=50)
    wait_for(lambda: running.done() > 10)
    running.ask("set", rate_limit=100_000, max_concurrency=1)
    wait_for(lambda: running.done() > 400)
    running.ask("cancel")
    running.end()


def test_the_rate_limit_holds_over_a_scatter() -> None:
    began = time.monotonic()
    results = manifold.scatter(lambda x: x, range(400), engine="threads://2", rate_limit=100)
    took = time.monotonic() - began
    assert len(results) == 400
    assert took >= 400 / 100 * 0.95


def test_retries_pay_the_rate_too() -> None:
    def flaky(x: int) -> int:
        raise ValueError("always")

    began = time.monotonic()
    manifold.scatter(flaky, range(50), engine="threads://1", rate_limit=100, item_retries=3, tolerate=50)
    assert time.monotonic() - began >= (50 * 4 - 100) / 100


def test_max_concurrency_bounds_the_chunks_at_work() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def watch(x: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1
        return x

    with ByReference(watch, slots=8) as (engine, proxy):
        manifold.scatter(proxy, range(200), engine=engine, chunk_size=2, max_concurrency=3)
    assert 1 <= most[0] <= 3


def test_a_straggler_is_copied_where_that_was_asked_for() -> None:
    lock = threading.Lock()
    seen: list[int] = []
    release = threading.Event()

    def straggle(x: int) -> int:
        with lock:
            first = x == 30 and x not in seen
            seen.append(x)
        if first:
            release.wait(30)
        return x

    with ByReference(straggle) as (engine, proxy):
        threading.Timer(25, release.set).start()
        began = time.monotonic()
        results = manifold.scatter(proxy, range(60), engine=engine, chunk_size=2, speculate=True)
        took = time.monotonic() - began
        release.set()
    assert list(results) == list(range(60))
    assert seen.count(30) == 2
    assert took < 25


@pytest.mark.parametrize("count", [100_000, 2_000_000])
def test_memory_is_bounded_by_the_window(count: int) -> None:
    import tracemalloc

    tracemalloc.start()
    results = manifold.scatter(_nothing, range(count), engine="threads://1")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert results.n_ok == count
    assert peak < 60e6


def _nothing(x: int) -> None:
    return None
