"""What the base promises over a transport that loses, doubles and reorders, and over one that goes away."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from manifold.config import new_secret
from manifold.engines._remote import mailboxes, messages
from manifold.engines._remote.links import Publisher
from manifold.errors import WorkerLost
from manifold.protocol import envelope
from manifold.testing import calls
from manifold.testing.engines import SLOW, began, let_go, until
from tests.remote.inside import Wire


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())


@pytest.fixture
def wire() -> Wire:
    return Wire()


def count(folder: str, number: int) -> int:
    """Leave a file for each execution."""
    (Path(folder) / f"{number}-{time.time_ns()}").touch()
    return number


def stubborn(folder: str) -> None:
    """Take no notice of being asked to stop."""
    (Path(folder) / "stubborn.began").write_text(str(os.getpid()))
    threading.Event().wait(SLOW)


@pytest.mark.parametrize("trouble", ["lost", "doubled", "late"])
def test_every_call_returns_over_a_wire_that_is_not_to_be_trusted(trouble: str, tmp_path: Path) -> None:
    wire = Wire(**{trouble: 0.15})  # type: ignore[arg-type]
    with wire.worker(), wire.engine() as engine:
        futures = [engine.submit(count, str(tmp_path), number) for number in range(40)]
        assert [future.result(SLOW) for future in futures] == list(range(40))
    assert len(list(tmp_path.iterdir())) == 40, "no call runs twice at a worker that lives"


def test_a_wire_that_is_away_makes_nobody_look_dead(wire: Wire, tmp_path: Path) -> None:
    with wire.worker(1), wire.engine(1) as engine:
        held = engine.submit(calls.hold, str(tmp_path), "held")
        until(lambda: began(tmp_path, "held"), "the call begins")
        wire.away.set()
        until(lambda: not engine.connected, "the engine notices")
        time.sleep(7.0)  # longer than a worker may be silent
        let_go(tmp_path)
        wire.away.clear()
        assert isinstance(held.result(SLOW), int)
        assert engine.submit(calls.echo, 1).result(SLOW) == 1


def test_a_full_mailbox_keeps_no_other_message_waiting(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "MOST", 1000)
    full, other = wire.connect(), wire.connect()
    full.open("g.full", "g")
    other.open("g.other", "g")
    other.send("g.full", bytes(1000))
    publisher = Publisher(wire.connect, "test")
    publisher.say("g.full", messages.Echo(), patience=60.0)
    publisher.say("g.other", messages.Echo(), patience=60.0)
    assert other.receive(10.0) is not None
    assert full.receive(10.0) == bytes(1000)
    assert full.receive(10.0) is not None, "it has room again"
    publisher.close()
    publisher.join()
    assert sum(to == "g.full" for to, _ in wire.sent) < 20, "it is not tried without a pause"


def test_a_worker_that_falls_silent_fails_what_it_had_begun_and_gives_back_the_rest(tmp_path: Path) -> None:
    wire = Wire()
    with wire.worker(1) as first, wire.engine(1) as engine:
        held = engine.submit(calls.hold, str(tmp_path), "held")
        until(lambda: began(tmp_path, "held"), "the call begins")
        until(lambda: any(one.holding for one in engine.workers()), "the engine knows it")
        first._publisher.close()  # from now on nothing of it is heard
        with wire.worker(1):
            assert engine.submit(calls.echo, 1).result(SLOW) == 1
            error = held.exception(SLOW)
            assert isinstance(error, WorkerLost)
            assert (error.started, error.died, error.witnessed) == (True, True, False)
            let_go(tmp_path)


def test_a_worker_that_leaves_gives_back_what_has_not_begun(tmp_path: Path) -> None:
    wire = Wire()
    with wire.engine(0) as engine, wire.worker(1) as first:
        until(lambda: engine.slots() == 1, "a slot")
        held = engine.submit(calls.hold, str(tmp_path), "held")
        until(lambda: began(tmp_path, "held"), "the call begins")
        later = engine.submit(os.getpid)
        first.leave()
        until(lambda: not engine.slots(), "the engine knows that it leaves")
        with wire.worker(1):
            assert later.result(SLOW) != os.getpid()
            let_go(tmp_path)
            assert isinstance(held.result(SLOW), int)


def test_a_worker_that_may_not_wait_ends_calls_that_do_not(tmp_path: Path) -> None:
    wire = Wire()
    with wire.engine(0) as engine:
        with wire.worker(1, drain_seconds=0.5) as worker:
            until(lambda: engine.slots() == 1, "a slot")
            held = engine.submit(stubborn, str(tmp_path))
            until(lambda: began(tmp_path, "stubborn"), "the call begins")
            until(lambda: any(one.holding for one in engine.workers()), "the engine knows it")
            worker.leave()
        error = held.exception(SLOW)
        assert isinstance(error, WorkerLost)
        assert (error.started, error.died) == (True, False)


def test_a_worker_that_leaves_after_a_long_call_still_sends_an_answer_again_that_was_lost(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifold.engines._remote.worker._GOODBYE", 6.0)
    lost: list[bytes] = []
    ask = wire.ask

    def losing(what: str, *given: Any) -> Any:
        data = given[1] if what == "send" else b""
        if not lost and data.startswith(envelope.MAGIC) and envelope.peek(data).kind == "reply":
            lost.append(data)
            return True
        return ask(what, *given)

    monkeypatch.setattr(wire, "ask", losing)
    with wire.engine(0) as engine:
        with wire.worker(1) as worker:
            until(lambda: engine.slots() == 1, "a slot")
            long = engine.submit(time.sleep, 7.0)
            until(lambda: any(info.holding for info in engine.workers()), "it runs")
            worker.leave()
        assert len(lost) == 1
        assert worker.figures()["answers_not_taken"] == 0
        assert long.result(SLOW) is None


def test_an_answer_is_kept_until_it_is_taken(tmp_path: Path) -> None:
    wire = Wire()
    with wire.worker(1) as worker, wire.engine(1) as engine:
        assert engine.submit(calls.echo, "x" * 100_000).result(SLOW) == "x" * 100_000
        until(lambda: worker.figures()["answers_not_taken"] == 0, "the engine says that it is here")


def test_a_process_with_too_much_memory_is_replaced_and_nothing_is_lost() -> None:
    wire = Wire()
    with wire.worker(1, max_memory=1), wire.engine(1) as engine:
        pids = {engine.submit(os.getpid).result(SLOW) for _ in range(4)}
        assert len(pids) > 1


def test_calls_of_a_coordinator_that_is_gone_do_not_run(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifold.engines._remote.worker._SILENT", 3)
    with wire.worker(1) as worker, wire.engine(1) as one, wire.engine(1) as other:
        held = one.submit(calls.hold, str(tmp_path), "held")
        until(lambda: began(tmp_path, "held"), "the call begins")
        other.submit(calls.hold, str(tmp_path), "never")
        until(lambda: worker.figures()["waiting"] == 1, "it waits at the worker")
        other._listener._publisher.close()  # as if it were killed
        until(lambda: worker.figures()["waiting"] == 0, "the worker gives it up")
        let_go(tmp_path)
        assert isinstance(held.result(SLOW), int)
        assert not began(tmp_path, "never")
        other._over.set()
        other._finished.set()


def test_signs_of_life_go_between_the_parts_of_a_large_call() -> None:
    wire = Wire()
    passed = threading.Event()
    ask = wire.ask

    def slow(what: str, *given: object) -> object:
        if what == "send" and len(given[1]) > 1_000_000:  # type: ignore[arg-type]
            time.sleep(0.7)  # some megabytes a second
            passed.set()
        return ask(what, *given)

    wire.ask = slow  # type: ignore[method-assign]
    large = os.urandom(40 * 1024 * 1024)
    with wire.worker(1), wire.engine(1) as engine:
        assert engine.submit(calls.echo, large).result(SLOW) == large  # 7 s one way, and silence is 5 s
        assert passed.is_set()
