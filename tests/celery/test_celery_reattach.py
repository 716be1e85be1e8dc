"""A coordinator that is killed costs nothing that its workers have begun: the next one waits for it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import manifold
from manifold.abc import Monitor
from manifold.events import Event, Notice, ScatterStarted
from manifold.ledger import open_ledger, verify, verify_blobs
from manifold.stores import open_store
from manifold.testing.engines import SLOW, until
from tests.celery import coordinate
from tests.celery.brokers import Deployment, serves


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Notices(Monitor):
    """Keeps what people are told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)
        if isinstance(event, ScatterStarted):
            self.texts.append(event.why)

    def said(self, text: str) -> bool:
        return any(text in one for one in self.texts)


class NextTry(Notices):
    """The try that follows, in this process."""

    def __init__(self, folder: Path, queue: str, items: int) -> None:
        super().__init__()
        self.results: manifold.Results | None = None
        self._thread = threading.Thread(target=self._run, args=(folder, queue, items))
        self._thread.start()

    def _run(self, folder: Path, queue: str, items: int) -> None:
        self.results = coordinate.scatter(folder, queue, items, monitors=[self])

    def ended(self) -> manifold.Results:
        self._thread.join(SLOW)
        assert self.results is not None
        return self.results


def begun(folder: Path, items: int) -> list[int]:
    """How often each item was begun."""
    files = [folder / f"began{number}" for number in range(items)]
    return [len(file.read_text().split()) if file.exists() else 0 for file in files]


def killed_in_mid_run(broker: Deployment, stack: ExitStack, folder: Path, queue: str, items: int) -> None:
    """A coordinator that is killed when two items run."""
    stack.enter_context(broker.worker(queue, queue))
    with broker.engine(queue) as engine:
        serves(engine, 2)
    command = [sys.executable, "-m", "tests.celery.coordinate", str(folder), queue, str(items)]
    coordinator = stack.enter_context(broker.run(f"coordinator-{queue}", command))
    until(lambda: sum(begun(folder, items)) == 2, "two items run")
    coordinator.kill()
    until(lambda: not coordinator.alive(), "the coordinator is dead")


def sound(folder: Path) -> None:
    ledger = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    row = ledger.find("long")
    assert row is not None
    assert verify(ledger, row.uid) == []
    assert list(verify_blobs(ledger, row.uid, open_store(f"file://{folder / 'store'}"))) == []
    ledger.close()


@pytest.fixture(autouse=True)
def broker_url(broker: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(coordinate.BROKER, broker.server.url())


def test_the_next_try_waits_for_what_runs_and_begins_it_no_second_time(
    broker: Deployment, stack: ExitStack, tmp_path: Path
) -> None:
    killed_in_mid_run(broker, stack, tmp_path, "outlived", 6)
    running = [number for number, times in enumerate(begun(tmp_path, 6)) if times]
    heir = NextTry(tmp_path, "outlived", 6)
    until(lambda: heir.said("re-attached to 2 chunks that still run"), "it says so")
    (tmp_path / "go").touch()
    assert sorted(heir.ended()) == [number * number for number in range(6)]
    times = begun(tmp_path, 6)
    assert [times[number] for number in running] == [1, 1]
    assert min(times) == 1
    sound(tmp_path)


def test_an_answer_that_no_coordinator_was_there_for_waits_for_the_next_one(
    broker: Deployment, stack: ExitStack, tmp_path: Path
) -> None:
    killed_in_mid_run(broker, stack, tmp_path, "waiting", 2)
    (tmp_path / "go").touch()
    until(lambda: all((tmp_path / f"ended{number}").exists() for number in range(2)), "both have ended")
    with broker.engine("waiting") as engine:
        until(lambda: not any(worker.holding for worker in engine.workers()), "the workers have answered")
    heir = NextTry(tmp_path, "waiting", 2)
    assert sorted(heir.ended()) == [0, 1]
    assert heir.said("took the answers of 2 chunks that had waited")
    assert begun(tmp_path, 2) == [1, 1]
    sound(tmp_path)


def test_a_third_try_finds_what_the_second_had_adopted(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    killed_in_mid_run(broker, stack, tmp_path, "thrice", 2)
    command = [sys.executable, "-m", "tests.celery.coordinate", str(tmp_path), "thrice", "2"]
    second = stack.enter_context(broker.run("second-thrice", command))
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")

    def reattached() -> bool:
        row = ledger.find("long")
        return row is not None and any("re-attached" in one.why for one in ledger.tries(row.uid))

    until(reattached, "the second try has re-attached")
    second.kill()
    until(lambda: not second.alive(), "it is dead")
    heir = NextTry(tmp_path, "thrice", 2)
    until(lambda: heir.said("re-attached to 2 chunks"), "the third one has, too")
    (tmp_path / "go").touch()
    assert sorted(heir.ended()) == [0, 1]
    assert begun(tmp_path, 2) == [1, 1]
    ledger.close()
    sound(tmp_path)


def test_a_worker_that_dies_with_what_was_adopted_costs_that_alone(
    broker: Deployment, stack: ExitStack, tmp_path: Path
) -> None:
    killed_in_mid_run(broker, stack, tmp_path, "orphan", 2)
    heir = NextTry(tmp_path, "orphan", 2)
    until(lambda: heir.said("re-attached to 2 chunks"), "it says so")
    os.kill(int((tmp_path / "began0").read_text()), signal.SIGKILL)
    until(lambda: begun(tmp_path, 2)[0] == 2, "the item of the dead process begins again")
    (tmp_path / "go").touch()
    assert sorted(heir.ended()) == [0, 1]
    assert begun(tmp_path, 2) == [2, 1]
    sound(tmp_path)


def test_nothing_of_a_scatter_that_ended_stays_with_the_broker(
    broker: Deployment, stack: ExitStack, tmp_path: Path
) -> None:
    killed_in_mid_run(broker, stack, tmp_path, "swept", 2)
    (tmp_path / "go").touch()
    heir = NextTry(tmp_path, "swept", 2)
    results = heir.ended()
    assert not broker.exists(f"manifold.reply.{results.uid}.1")
    assert not broker.exists(f"manifold.reply.{results.uid}.2")
