"""The contract of an engine, as tests: define a fixture `engine_row` and subclass `EngineContract`.

::

    @pytest.fixture
    def engine_row() -> EngineRow:
        return EngineRow("lanes", lambda: open_engine("lanes://2"))

    class TestLanes(EngineContract):
        pass
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, as_completed, wait
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception
from typing import Any

import psutil
import pytest

from manifold.abc import Engine
from manifold.errors import WorkerLost
from manifold.testing import calls

SLOW = 60.0
"""Seconds after which something on a loaded machine counts as stuck."""


def kill_process(pid: int) -> None:
    """End a process without warning."""
    os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine, as the contract tests need to know it.

    Args:
        scheme: that of its URLs.
        open: makes a new engine of at least two slots, whose workers are up, or will be within `SLOW`.
        kill: ends the process that runs a call, by its id, without warning; None where calls have no process of
            their own (threads).
        lost_within: seconds after such a death in which the call's future fails.
        beat: seconds after which the engine knows the position that a call has reported; None if it never does.
        cancels: a queued call that was cancelled is never run.
    """

    scheme: str
    open: Callable[[], Engine]
    kill: Callable[[int], None] | None = kill_process
    lost_within: float = 10.0
    beat: float | None = 1.0
    cancels: bool = True


class EngineContract:
    """What every engine must do. Each test opens an engine of its own and shuts it down."""

    @pytest.fixture
    def engine(self, engine_row: EngineRow) -> Iterator[Engine]:
        with engine_row.open() as engine:
            until(lambda: engine.slots() >= 2, "the engine has two slots")
            yield engine

    # Arguments and results

    def test_a_call_returns_what_the_function_returns(self, engine: Engine) -> None:
        assert engine.submit(pow, 2, 10).result(SLOW) == 1024

    def test_a_lambda_and_a_closure_can_be_called(self, engine: Engine) -> None:
        secret = [3, 4]
        assert engine.submit(lambda: sum(secret)).result(SLOW) == 7

    def test_keywords_that_look_like_the_engines_own_reach_the_function(self, engine: Engine) -> None:
        theirs = dict.fromkeys(("self", "fn", "key", "workers", "timeout", "queue", "args", "kwargs", "function"), 1)
        assert engine.submit(calls.keywords, "x", **theirs).result(SLOW) == (("x",), theirs)

    def test_the_same_call_twice_runs_twice(self, engine: Engine) -> None:
        one, two = engine.submit(os.urandom, 8), engine.submit(os.urandom, 8)
        assert one.result(SLOW) != two.result(SLOW)

    def test_twenty_megabytes_go_in_and_come_out(self, engine: Engine) -> None:
        large = os.urandom(20 * 1024 * 1024)
        assert engine.submit(calls.echo, large).result(SLOW) == large

    @pytest.mark.parametrize("value", [b"", b"x", "text", None, [b"a" * 70_000, 1], {"k": bytearray(b"b")}])
    def test_values_come_back_as_they_went(self, engine: Engine, value: object) -> None:
        back = engine.submit(calls.echo, value).result(SLOW)
        assert (type(back), back) == (type(value), value)

    def test_a_thousand_tiny_calls_all_return(self, engine: Engine) -> None:
        futures = [engine.submit(calls.echo, n) for n in range(1000)]
        assert [future.result(SLOW) for future in futures] == list(range(1000))

    # Errors

    def test_an_exception_arrives_as_it_was_raised(self, engine: Engine) -> None:
        error = engine.submit(calls.refuse, 404, "not here").exception(SLOW)
        assert isinstance(error, calls.Refused)
        assert (error.code, error.reason) == (404, "not here")

    def test_an_exception_shows_where_it_was_raised(self, engine: Engine) -> None:
        error = engine.submit(calls.refuse, 404, "not here").exception(SLOW)
        assert error is not None
        assert "raise Refused(code, reason)" in "".join(format_exception(error))

    def test_a_call_that_exits_fails_alone(self, engine: Engine) -> None:
        with pytest.raises(SystemExit):
            engine.submit(calls.leave, 3).result(SLOW)
        self._still_works(engine)

    def test_a_result_that_cannot_travel_fails_its_call_alone(self, engine: Engine) -> None:
        future = engine.submit(calls.return_what_does_not_travel)
        assert (future.exception(SLOW) is None) == engine.in_process
        self._still_works(engine)

    def test_an_exception_that_cannot_travel_fails_its_call_alone(self, engine: Engine) -> None:
        error = engine.submit(calls.raise_what_does_not_travel).exception(SLOW)
        assert error is not None
        assert "7: seven" in "".join(format_exception(error))
        self._still_works(engine)

    def test_an_argument_that_cannot_travel_fails_its_call_alone(self, engine: Engine) -> None:
        future = engine.submit(calls.is_none, threading.Lock())
        assert (future.exception(SLOW) is None) == engine.in_process
        self._still_works(engine)

    # The standard library's Executor

    def test_map_keeps_the_order(self, engine: Engine) -> None:
        assert list(engine.map(pow, range(20), [2] * 20, timeout=SLOW, chunksize=3)) == [n * n for n in range(20)]

    def test_map_gives_up_at_its_timeout(self, engine: Engine, tmp_path: Path) -> None:
        results = engine.map(calls.hold, [str(tmp_path)], ["mapped"], timeout=0.2)
        with pytest.raises(TimeoutError):
            next(results)
        let_go(tmp_path)

    def test_wait_and_as_completed_see_every_future(self, engine: Engine) -> None:
        futures = [engine.submit(calls.echo, n) for n in range(8)]
        assert {future.result() for future in as_completed(futures, timeout=SLOW)} == set(range(8))
        assert not wait(futures, timeout=SLOW).not_done

    def test_a_callback_of_a_future_is_called(self, engine: Engine) -> None:
        called = threading.Event()
        engine.submit(calls.echo, 1).add_done_callback(lambda _: called.set())
        assert called.wait(SLOW)

    def test_a_short_call_does_not_wait_behind_a_long_one(self, engine: Engine, tmp_path: Path) -> None:
        long = engine.submit(calls.hold, str(tmp_path), "long")
        assert [engine.submit(calls.echo, n).result(SLOW) for n in range(10)] == list(range(10))
        short = [engine.submit(calls.echo, n) for n in range(10)]
        assert not wait(short, timeout=SLOW).not_done
        assert not long.done()
        let_go(tmp_path)
        long.result(SLOW)

    def test_as_many_calls_run_at_once_as_it_has_slots(self, engine: Engine, tmp_path: Path) -> None:
        self._fill(engine, tmp_path)
        let_go(tmp_path)

    def test_a_queued_call_can_be_cancelled(self, engine: Engine, engine_row: EngineRow, tmp_path: Path) -> None:
        self._fill(engine, tmp_path)
        queued = [engine.submit(calls.hold, str(tmp_path), f"queued{n}") for n in range(4 * engine.slots())]
        last = queued.pop()
        assert last.cancel()
        with pytest.raises(CancelledError):
            last.result(0)
        let_go(tmp_path)
        assert not wait(queued, timeout=SLOW).not_done
        if engine_row.cancels:
            assert not began(tmp_path, f"queued{len(queued)}")

    def test_shutdown_finishes_what_was_submitted(self, engine: Engine) -> None:
        futures = [engine.submit(calls.echo, n) for n in range(50)]
        engine.shutdown()
        assert [future.result(0) for future in futures] == list(range(50))

    def test_shutdown_can_cancel_what_waits(self, engine: Engine, tmp_path: Path) -> None:
        running = self._fill(engine, tmp_path)
        until(lambda: all(one.running() for one in running), "the engine knows what runs")
        queued = [engine.submit(calls.echo, n) for n in range(8 * engine.slots())]
        engine.shutdown(wait=False, cancel_futures=True)
        assert queued[-1].cancelled()
        let_go(tmp_path)
        engine.shutdown()
        assert all(isinstance(future.result(0), int) for future in running)
        assert all(future.done() for future in queued)

    def test_shutdown_twice_is_no_error(self, engine: Engine) -> None:
        engine.shutdown()
        engine.shutdown()

    def test_submit_after_shutdown_is_refused(self, engine: Engine) -> None:
        engine.shutdown()
        with pytest.raises(RuntimeError):
            engine.submit(calls.echo, 1)

    def test_shutdown_leaves_nothing_running(self, engine_row: EngineRow) -> None:
        before = _running()
        with engine_row.open() as engine:
            assert engine.submit(calls.echo, 1).result(SLOW) == 1
        until(lambda: _running() <= before, "processes and threads of the engine are gone")

    # Workers

    def test_it_names_the_worker_that_holds_a_call(self, engine: Engine, tmp_path: Path) -> None:
        self._fill(engine, tmp_path)
        until(lambda: sum(len(worker.holding) for worker in engine.workers()) >= 2, "both calls are seen at workers")
        assert all(worker.name and worker.host and worker.pid > 0 for worker in engine.workers())
        assert all(0 <= worker.silence < SLOW for worker in engine.workers())
        let_go(tmp_path)

    def test_nothing_keeps_calls_from_running(self, engine: Engine) -> None:
        assert engine.check() is None

    def test_kill_ends_a_call_where_the_engine_says_so(self, engine: Engine, tmp_path: Path) -> None:
        future = engine.submit(calls.hold, str(tmp_path), "hopeless")
        self._pid_of(tmp_path, "hopeless")
        engine.kill(future)
        if engine.kills_items:
            with pytest.raises(WorkerLost):
                future.result(SLOW)
        let_go(tmp_path)
        assert not wait([future], timeout=SLOW).not_done
        self._still_works(engine)

    def test_a_dead_worker_fails_only_its_own_calls(
        self, engine: Engine, engine_row: EngineRow, tmp_path: Path
    ) -> None:
        if engine_row.kill is None:
            assert engine.submit(calls.pid).result(SLOW) == os.getpid(), "a call runs in a process of its own"
            return
        running = self._fill(engine, tmp_path, position=7)
        queued = [engine.submit(calls.echo, n) for n in range(20)]
        time.sleep(engine_row.beat or 0)  # the time that an engine may take to learn a position
        engine_row.kill(self._pid_of(tmp_path, "held0"))
        error = running[0].exception(engine_row.lost_within)
        assert isinstance(error, WorkerLost)
        assert (error.started, error.died, error.overdue) == (True, True, False)
        assert error.position == (None if engine_row.beat is None else 7)
        let_go(tmp_path)
        assert all(isinstance(future.result(SLOW), int) for future in running[1:])
        assert [future.result(SLOW) for future in queued] == list(range(20))

    def test_after_a_death_it_has_all_its_slots_again(
        self, engine: Engine, engine_row: EngineRow, tmp_path: Path
    ) -> None:
        slots = engine.slots()
        for name in ("first", "second", "third"):
            if engine_row.kill is not None:
                future = engine.submit(calls.hold, str(tmp_path), name)
                engine_row.kill(self._pid_of(tmp_path, name))
                assert isinstance(future.exception(engine_row.lost_within), WorkerLost)
        until(lambda: engine.slots() == slots, "the engine has its slots again")
        self._fill(engine, tmp_path)
        let_go(tmp_path)

    def test_an_idle_worker_that_dies_costs_nothing(self, engine: Engine, engine_row: EngineRow) -> None:
        idle = engine.submit(calls.pid).result(SLOW)
        if engine_row.kill is not None:
            engine_row.kill(idle)
        futures = [engine.submit(calls.echo, n) for n in range(20)]
        assert [future.result(SLOW) for future in futures] == list(range(20))

    def _still_works(self, engine: Engine) -> None:
        futures = [engine.submit(calls.echo, n) for n in range(2 * engine.slots())]
        assert [future.result(SLOW) for future in futures] == list(range(2 * engine.slots()))

    def _pid_of(self, folder: Path, name: str) -> int:
        until(lambda: began(folder, name), f"the call {name!r} begins")
        return int(began(folder, name))

    def _fill(self, engine: Engine, folder: Path, position: int | None = None) -> list[Future[Any]]:
        """Have every slot hold a call that ends with `let_go`; returns once all of them have begun."""
        names = [f"held{n}" for n in range(engine.slots())]
        futures = [engine.submit(calls.hold, str(folder), name, position) for name in names]
        until(lambda: all(began(folder, name) for name in names), "a call has begun in each slot")
        return futures


def until(condition: Callable[[], object], what: str, within: float = SLOW) -> None:
    """Return once `condition` holds; AssertionError naming `what` after `within` seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        time.sleep(0.01)


def began(folder: Path, name: str) -> str:
    """The id of the process in which `calls.hold` began under this name; empty while it has not."""
    path = folder / f"{name}.began"
    return path.read_text() if path.exists() else ""


def let_go(folder: Path) -> None:
    """End every `calls.hold` of this folder."""
    (folder / "go").touch()


def _running() -> set[int]:
    """Ids of this process's children, however deep, and of its threads."""
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    return children | {thread.native_id or 0 for thread in threading.enumerate()}
