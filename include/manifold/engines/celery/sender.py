"""The thread of a coordinator that sends calls to Celery, so that nobody waits for a broker that is away."""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress

from celery import Celery

from manifold.engines.celery import messages as ms
from manifold.engines.celery.broker import Publisher
from manifold.engines.celery.calls import InFlight, Sent
from manifold.errors import EngineError

log = logging.getLogger(__name__)

_LONGEST = 2.0  # seconds between two tries to reach the broker


class Sender:
    """Sends calls in order, and at each beat an echo; ends when told to, once nothing is in flight.

    Args:
        me: names this process alone.
        name: what its calls are sealed under.
        to: the queue of the workers.
        reply_to: the coordinator's own queue.
        failed: is given a call that cannot be sent, with the reason.
        ended: is called at the end.
        unheard: queues of coordinators before it: an echo goes through each, until it has come back.
    """

    def __init__(
        self,
        app: Celery,
        me: str,
        name: str,
        to: str,
        flight: InFlight,
        failed: Callable[[Sent, Exception], None],
        ended: Callable[[], None],
        unheard: set[str],
    ) -> None:
        self._app = app
        self._me = me
        self._name = name
        self._to = to
        self._reply_to = ms.reply_queue(name)
        self._flight = flight
        self._failed = failed
        self._ended = ended
        self._unheard = unheard
        self._publisher = Publisher(app)
        self._work: queue.SimpleQueue[tuple[Sent, str] | None] = queue.SimpleQueue()
        self._unwanted: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="manifold-celery-sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, call: Sent, sealed: str) -> None:
        self._work.put((call, sealed))

    def unsend(self, call: Sent, *, kill: bool = False) -> None:
        """Have workers drop the call, if none has begun it; or, to `kill` it, the process that runs it."""
        if call.place is not None:
            self._unwanted.put((call.id, kill))
        self.wake()

    def drop(self, calls: Iterable[str]) -> None:
        """Have workers drop calls that a coordinator before this one has sent, if none has begun them."""
        for call in calls:
            self._unwanted.put((call, False))
        self.wake()

    def wake(self) -> None:
        """Look whether the end has come."""
        self._work.put(None)

    def close(self) -> None:
        self._closing = True
        self.wake()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not (self._closing and self._flight.idle()):
            try:
                work = self._work.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                work = None
            if work is not None:
                self._send(*work)
            self._drop_unwanted()
            if time.monotonic() >= due:
                due = time.monotonic() + ms.BEAT
                self._publisher.reply(self._reply_to, ms.Echo(self._me))
                for name in list(self._unheard):
                    self._publisher.reply(name, ms.Echo(self._me, beat=False, queue=name))
                if self._flight.wants_probe():
                    self._probe()
        self._drop_unwanted()
        self._ended()
        self._publisher.reply(self._reply_to, ms.Echo(self._me, beat=False))  # the ear sees that it is the end
        self._publisher.close()

    def _send(self, call: Sent, sealed: str) -> None:
        """Hand the call to the broker, however long that is away."""
        pause, warned = 0.1, False
        while self._flight.get(call.id) is not None:
            try:
                if self._publisher.call(self._to, call.id, sealed, self._reply_to):
                    self._flight.sent(call.id)
                    return
            except Exception as exc:  # noqa: BLE001 - whatever Celery finds wrong with one message, the others continue
                error = EngineError(f"cannot send a call to the queue {self._to!r}: {type(exc).__name__}: {exc}")
                error.__cause__ = exc
                self._failed(call, error)
                return
            if pause == _LONGEST and not warned:
                warned = True
                log.warning("the Celery broker takes no calls (%s); trying until it does", self._publisher.trouble)
            time.sleep(pause)
            pause = min(_LONGEST, 2 * pause)

    def _probe(self) -> None:
        probe = Sent(str(uuid.uuid4()), Future(), self._name, probe=True)
        self._flight.add(probe)
        self._send(probe, ms.seal_call(self._name, probe.id, int, (), {}))

    def _drop_unwanted(self) -> None:
        drop: list[str] = []
        kill: list[str] = []
        while not self._unwanted.empty():
            call, killing = self._unwanted.get()
            (kill if killing else drop).append(call)
        # Best effort: a call that runs all the same is answered to nobody. Celery would wait for a broker that is away.
        if (drop or kill) and self._publisher.reply(self._reply_to, ms.Echo(self._me, beat=False)):
            with suppress(Exception):
                if drop:
                    self._app.control.revoke(drop)
                if kill:
                    self._app.control.revoke(kill, terminate=True, signal="SIGKILL")
