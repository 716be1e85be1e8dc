"""A transport within this process, which loses, doubles and reorders what it carries; engines and workers on it."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manifold.abc import Place
from manifold.engines._remote.access import Ask
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.worker import Worker
from manifold.testing.engines import until

PLACE = Place("inside", "inside://here:1", "here", 1, queue="tests", silence=5.0)


class Wire:
    """What is between the mailboxes.

    Args:
        lost: the share of messages that vanish.
        doubled: the share that comes twice.
        late: the share that comes after the next one.
        away: while set, whoever sends or receives learns that the connection is lost.
    """

    def __init__(self, *, lost: float = 0.0, doubled: float = 0.0, late: float = 0.0, seed: int = 1) -> None:
        self.mailboxes = Mailboxes()
        self.away = threading.Event()
        self.sent: list[tuple[str, bytes]] = []
        self._lost, self._doubled, self._late = lost, doubled, late
        self._random = random.Random(seed)
        self._held: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()

    def ask(self, what: str, *given: Any) -> Any:
        if self.away.is_set():
            raise ConnectionResetError("the wire is cut")
        if what != "send":
            return self.mailboxes.ask(what, *given)
        with self._lock:
            self.sent.append((given[0], given[1]))
            dice = [self._random.random() for _ in range(3)]
            held, self._held = self._held, []
            if dice[0] < self._lost:
                return True
            if dice[1] < self._late:
                self._held = [given]
                fits = True
            else:
                fits = self.mailboxes.send(*given)
            for one in [*held, *([given] if dice[2] < self._doubled else [])]:
                self.mailboxes.send(*one)
            return fits

    def connect(self) -> HubTransport:
        """A transport over this wire."""
        wire = self

        class Inside(HubTransport):
            proves = False

            def dial(self, place: Place) -> Ask:
                return wire.ask

            def hang_up(self) -> None:
                return

        return Inside.connect(PLACE)

    @contextmanager
    def worker(self, slots: int = 2, **options: Any) -> Iterator[Worker]:
        """A worker, which is told to leave at the end."""
        worker = Worker(self.connect, slots, PLACE.queue, **options)
        thread = threading.Thread(target=worker.serve)
        thread.start()
        try:
            yield worker
        finally:
            worker.leave()
            thread.join()

    @contextmanager
    def engine(self, slots: int = 2) -> Iterator[RemoteEngine]:
        """An engine that has so many slots."""
        engine = InsideEngine(self.connect, PLACE)
        try:
            until(lambda: engine.slots() >= slots, f"{slots} slots")
            yield engine
        finally:
            engine.shutdown(cancel_futures=True)


class InsideEngine(RemoteEngine):
    transport = HubTransport
