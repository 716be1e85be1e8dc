"""What happens to calls when workers, connections, brokers and messages fail, for real."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from manifold.engines.celery.engine import CeleryEngine
from manifold.errors import WorkerLost
from manifold.testing import calls
from manifold.testing.engines import SLOW, began, let_go, until
from tests.celery import probes
from tests.celery.brokers import Deployment, deployment, kinds, serves


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def fill(engine: CeleryEngine, folder: Path, position: int | None = None) -> list[Future[Any]]:
    """A call in each slot, all of them begun."""
    names = [f"held{n}" for n in range(engine.slots())]
    held = [engine.submit(calls.hold, str(folder), name, position) for name in names]
    until(lambda: all(began(folder, name) for name in names), "every slot runs a call")
    return held


def test_a_worker_killed_whole_fails_what_it_ran_and_nothing_else(
    broker: Deployment, stack: ExitStack, tmp_path: Path
) -> None:
    engine = stack.enter_context(broker.engine("killed"))
    doomed = stack.enter_context(broker.worker("doomed", "killed"))
    held = fill(serves(engine, 2), tmp_path, position=5)
    stack.enter_context(broker.worker("heir", "killed"))
    serves(engine, 4)
    doomed.kill()
    after = [engine.submit(calls.echo, n) for n in range(20)]
    for n, future in enumerate(held):
        error = future.exception(30)
        assert isinstance(error, WorkerLost)
        assert (error.started, error.died, error.position, error.overdue) == (True, True, 5, False)
        assert error.worker is not None
        assert error.worker.endswith(f":{began(tmp_path, f'held{n}')}")
    assert [future.result(SLOW) for future in after] == list(range(20))
    until(lambda: engine.slots() == 2, "the slots of the dead worker count no more")


def test_a_worker_told_to_stop_returns_what_it_has(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    engine = stack.enter_context(broker.engine("drained"))
    leaving = stack.enter_context(broker.worker("leaving", "drained"))
    held = fill(serves(engine, 2), tmp_path)
    waiting = [engine.submit(calls.echo, n) for n in range(10)]
    leaving.terminate()
    assert [future.result(SLOW) for future in held] == [int(began(tmp_path, f"held{n}")) for n in range(2)]
    until(leaving.ended, "the worker has ended")
    stack.enter_context(broker.worker("successor", "drained"))
    for n, future in enumerate(waiting):
        error = future.exception(SLOW)
        if isinstance(error, WorkerLost):  # it had been fetched, and was given back
            assert (error.started, error.died) == (False, False)
            future = engine.submit(calls.echo, n)
        assert future.result(SLOW) == n


def test_a_pool_process_told_to_stop_returns_what_it_has(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    engine = stack.enter_context(broker.engine("signalled"))
    stack.enter_context(broker.worker("signalled", "signalled"))
    held = fill(serves(engine, 2), tmp_path)
    pid = int(began(tmp_path, "held0"))
    os.kill(pid, signal.SIGTERM)
    assert held[0].result(SLOW) == pid
    let_go(tmp_path)
    assert [engine.submit(calls.echo, n).result(SLOW) for n in range(10)] == list(range(10))


def test_a_pool_process_that_dies_is_told_of_with_the_very_item(broker: Deployment, stack: ExitStack) -> None:
    engine = stack.enter_context(broker.engine("poisoned", silence=60))
    stack.enter_context(broker.worker("poisoned", "poisoned"))
    error = serves(engine, 2).submit(probes.die_at, 7).exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died, error.overdue, error.position) == (True, True, False, 7)
    assert [engine.submit(calls.echo, n).result(SLOW) for n in range(10)] == list(range(10))


def test_an_item_that_ignores_its_timeout_costs_its_process(broker: Deployment, stack: ExitStack) -> None:
    engine = stack.enter_context(broker.engine("overdue"))
    stack.enter_context(broker.worker("overdue", "overdue"))
    error = serves(engine, 2).submit(probes.never_yield, 3).exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died, error.overdue, error.position) == (True, True, True, 3)
    assert [engine.submit(calls.echo, n).result(SLOW) for n in range(10)] == list(range(10))


def test_an_item_that_keeps_the_interpreter_past_its_timeout_costs_its_process(
    broker: Deployment, stack: ExitStack
) -> None:
    engine = stack.enter_context(broker.engine("grim"))
    stack.enter_context(broker.worker("grim", "grim"))
    error = serves(engine, 2).submit(probes.never_let_go, 3).exception(30)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died, error.overdue, error.position) == (True, True, True, None)
    assert [engine.submit(calls.echo, n).result(SLOW) for n in range(10)] == list(range(10))


def test_a_process_too_busy_to_beat_is_not_taken_for_dead(broker: Deployment, stack: ExitStack) -> None:
    engine = stack.enter_context(broker.engine("busy", silence=3))
    stack.enter_context(broker.worker("busy", "busy"))
    assert serves(engine, 2).submit(probes.keep_the_interpreter, 8).result(SLOW) >= 8


def test_calls_that_wait_behind_others_are_never_given_up(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    engine = stack.enter_context(broker.engine("crowded", silence=3))
    other = stack.enter_context(broker.engine("crowded"))
    stack.enter_context(broker.worker("crowded", "crowded", slots=1))
    held = fill(serves(other, 1), tmp_path)
    waiting = [engine.submit(calls.echo, n) for n in range(5)]
    # Longer than until a probe is sent, and than a lost message is waited for after that.
    assert not wait(waiting, timeout=20).done
    let_go(tmp_path)
    assert [future.result(SLOW) for future in waiting] == list(range(5))
    held[0].result(SLOW)


def test_a_second_delivery_of_a_call_that_runs_is_ignored(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    settings = {"VISIBILITY_TIMEOUT": "2", "UNACKED_RESTORE_INTERVAL": "1", "UNACKED_RESTORE_THROTTLE": "1"}
    more = {f"AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__{name}": value for name, value in settings.items()}
    engine = stack.enter_context(broker.engine("twice"))
    stack.enter_context(broker.worker("twice", "twice", more=more))
    future = serves(engine, 2).submit(probes.count, str(tmp_path), 12.0)
    until(lambda: list(tmp_path.iterdir()), "the call runs")
    if broker.kind == "rabbitmq":  # which has no such settings, and redelivers what a lost connection held
        broker.server.cut()
    assert future.result(SLOW) == 1
    received = (broker.folder / "twice.log").read_text().count("] received")
    assert received > 1, "there was a second delivery"


def test_cut_connections_cost_no_call(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    engine = stack.enter_context(broker.engine("cut", silence=5))
    stack.enter_context(broker.worker("cut", "cut"))
    running = serves(engine, 2).submit(probes.count, str(tmp_path), 10.0)
    until(lambda: list(tmp_path.iterdir()), "the call runs")
    broker.server.cut()
    assert engine.submit(calls.echo, 1).result(SLOW) == 1
    assert running.result(SLOW) == 1


@pytest.mark.parametrize("kind", kinds())
def test_a_restart_of_the_broker_is_waited_out(
    kind: str, stack: ExitStack, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = stack.enter_context(deployment(kind, tmp_path_factory.mktemp("restarted")))
    engine = stack.enter_context(broker.engine("restarted"))
    stack.enter_context(broker.worker("restarted", "restarted"))
    held = fill(serves(engine, 2), tmp_path)
    waiting = [engine.submit(calls.echo, n) for n in range(5)]
    broker.server.stop()
    began_to_wait = time.monotonic()
    waiting += [engine.submit(calls.echo, n) for n in range(5, 10)]
    assert time.monotonic() - began_to_wait < 5, "submit does not wait for the broker"
    broker.server.start()
    let_go(tmp_path)
    assert [future.result(SLOW) for future in held] == [int(began(tmp_path, f"held{n}")) for n in range(2)]
    forgotten = 0
    for n, future in enumerate(waiting):
        error = future.exception(SLOW)
        if isinstance(error, WorkerLost):
            forgotten += 1
            assert (error.started, error.died) == (False, False)
            future = engine.submit(calls.echo, n)
        assert future.result(SLOW) == n
    assert (forgotten > 0) == (kind == "redis"), "only this Redis, which keeps nothing on disk, forgets"


def test_the_last_message_lost_on_its_way_is_missed(broker: Deployment, stack: ExitStack) -> None:
    engine = stack.enter_context(broker.engine("swallowed"))
    swallowed = engine.submit(calls.echo, 1)
    broker.purge("swallowed", 1)
    stack.enter_context(broker.worker("swallowed", "swallowed"))
    error = swallowed.exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died, error.position, error.worker) == (False, False, None, None)
