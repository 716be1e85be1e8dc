"""An executor of the caller's own as an engine."""

from __future__ import annotations

import os
import threading
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import pytest

from manifold.engines.open import open_engine
from manifold.errors import WorkerLost
from manifold.testing import calls
from manifold.testing.engines import SLOW, until


def test_it_has_the_slots_of_the_executor() -> None:
    with ThreadPoolExecutor(3) as pool, open_engine(pool) as engine:
        assert engine.slots() == 3


def test_a_call_runs_in_the_executor_with_its_own_keywords() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool, open_engine(pool) as engine:
        assert engine.submit(lambda: threading.current_thread().name).result(SLOW) == "mine_0"
        theirs = {"fn": 1, "self": 2, "timeout": 3}
        assert engine.submit(calls.keywords, **theirs).result(SLOW) == ((), theirs)


def test_shutdown_waits_for_its_own_calls_and_leaves_the_executor_open() -> None:
    with ThreadPoolExecutor(1) as pool:
        engine = open_engine(pool)
        future = engine.submit(calls.echo, 1)
        engine.shutdown()
        assert future.result(0) == 1
        assert pool.submit(calls.echo, 2).result(SLOW) == 2
        with pytest.raises(RuntimeError):
            engine.submit(calls.echo, 3)


def test_an_exception_arrives_as_it_was_raised() -> None:
    with ThreadPoolExecutor(1) as pool, open_engine(pool) as engine, pytest.raises(calls.Refused):
        engine.submit(calls.refuse, 1, "no").result(SLOW)


def test_a_queued_call_can_be_cancelled_and_a_running_one_cannot() -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool, open_engine(pool) as engine:
        running: Future[bool] = engine.submit(go.wait, SLOW)
        queued = [engine.submit(calls.echo, n) for n in range(3)]
        until(running.running, "the first call runs")
        assert not running.cancel()
        assert queued[-1].cancel()
        engine.shutdown(wait=False, cancel_futures=True)
        go.set()
        assert not wait([running, *queued], timeout=SLOW).not_done
        assert running.result(0) is True
        with pytest.raises(CancelledError):
            queued[0].result(0)


def test_an_executor_that_breaks_fails_its_calls_as_lost_and_says_so() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, open_engine(pool) as engine:
        assert engine.check() is None
        error = engine.submit(os._exit, 1).exception(SLOW)
        assert isinstance(error, WorkerLost)
        assert isinstance(error.__cause__, BrokenProcessPool)
        assert error.died
        assert engine.slots() == 0
        assert "broken" in (engine.check() or "")
        assert isinstance(engine.submit(calls.echo, 1).exception(SLOW), WorkerLost)


def test_only_threads_are_said_to_share_the_process() -> None:
    with ThreadPoolExecutor(1) as threads, ProcessPoolExecutor(1) as processes:
        assert (open_engine(threads).in_process, open_engine(processes).in_process) == (True, False)
