"""Thousands of messages that nobody signed, at every queue: none is unpickled, nobody dies, a scatter ends right."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

import manifold
from manifold.engines.celery import messages as ms
from manifold.ledger import open_ledger
from manifold.testing import calls
from manifold.testing.engines import SLOW, until
from tests.celery.brokers import CeleryWorker, Deployment, serves
from tests.security.attack import Attacker, Captured, attacker
from tests.security.canary import Canary
from tests.security.work import square

MESSAGES = 10_000
SEED = 20261125
ITEMS = 4_000


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Scatter:
    """A scatter in a thread of its own, so that something else can happen meanwhile."""

    def __init__(self, engine: Any, folder: Path) -> None:
        self.ledger = f"sqlite:///{folder}/ledger.db"
        self._engine = engine
        self._store = f"{(folder / 'store').as_uri()}?shared=true"
        self._results: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results = manifold.scatter(
                square, range(ITEMS), engine=self._engine, store=self._store, ledger=self.ledger, scatter_id="meanwhile"
            )
        except Exception as exc:  # noqa: BLE001 - the test's own thread raises it
            self._error = exc

    def assert_right(self) -> None:
        """Every item has its result, and none was blamed for anything."""
        self._thread.join(SLOW * 5)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        assert list(self._results) == [n * n for n in range(ITEMS)]
        ledger = open_ledger(self.ledger)
        row = ledger.find("meanwhile")
        assert row is not None
        assert (row.state, row.n_ok, row.n_failed) == ("succeeded", ITEMS, 0)
        assert not ledger.strikes(row.uid)
        ledger.close()


def family(worker: CeleryWorker) -> set[int]:
    """The worker's processes."""
    main = psutil.Process(worker.child.pid)
    return {main.pid, *(child.pid for child in main.children(recursive=True))}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", ["workers", "coordinator"])
def test_ten_thousand_messages_that_nobody_signed_change_nothing(
    broker: Deployment,
    stack: ExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    target: str,
) -> None:
    caplog.set_level(logging.WARNING)
    canary, captured = Canary(tmp_path), Captured.by(monkeypatch)
    queue = f"attacked_{target}"
    worker = stack.enter_context(broker.worker(queue, queue))
    engine = serves(stack.enter_context(broker.engine(queue)), 2)
    stack.callback(engine.shutdown, wait=False, cancel_futures=True)
    before = family(worker)
    scatter = Scatter(engine, tmp_path)
    until(lambda: len(captured.calls) > 3 and len(captured.heard) > 20, "there is something to send again")

    with attacker(broker, canary, SEED) as somebody:
        _attack(somebody, target, queue, captured)

    scatter.assert_right()
    until(lambda: not broker.waiting(queue), "the workers have met it all", within=300)
    assert engine.submit(calls.echo, 7).result(SLOW) == 7
    assert canary.alive, f"something was unpickled; seed {SEED}"
    assert family(worker) == before, f"a process has died; seed {SEED}"
    said = [record.getMessage() for record in caplog.records if record.name.startswith("manifold")]
    assert not [text for text in said if "lost the connection" in text]
    assert len(said) < 100, "the log is not for whoever may send messages to fill"


def _attack(somebody: Attacker, target: str, queue: str, captured: Captured) -> None:
    if target == "workers":
        somebody.attack_workers(queue, captured, MESSAGES)
    else:
        somebody.attack_coordinator(captured.calls[0][2], captured, MESSAGES // 2)


def test_a_call_that_is_sent_again_word_for_word_changes_no_result(
    broker: Deployment, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is signed, so it runs again, as after any second delivery; its answer comes too late to count."""
    captured = Captured.by(monkeypatch)
    engine = stack.enter_context(broker.engine("again"))
    stack.enter_context(broker.worker("again", "again"))
    scatter = Scatter(serves(engine, 2), tmp_path)
    until(lambda: len(captured.calls) > 3, "some calls were sent")
    with attacker(broker, Canary(tmp_path), SEED) as somebody:
        for call, sealed, reply_to in captured.calls[:4] * 5:
            somebody._call("again", (sealed,), call, reply_to)
    scatter.assert_right()
    assert all(ms.is_reply_queue(reply_to) for *_, reply_to in captured.calls)
