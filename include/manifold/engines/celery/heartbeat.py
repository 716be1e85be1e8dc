"""The signs of life of a Celery worker: of the process that runs calls, and of the main process that feeds it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from celery import Celery
from celery.worker import state

from manifold.engines.celery import messages as ms
from manifold.engines.celery import refusals
from manifold.engines.celery.broker import Publisher
from manifold.engines.celery.consumer import rarely
from manifold.engines.celery.pool_state import Entry, PoolState, in_pool_process
from manifold.errors import ConfigError
from manifold.token_bucket import TokenBucket
from manifold.worker import beat
from manifold.worker.beat import RunningCall

log = logging.getLogger(__name__)

_LOOK = 0.25  # seconds between two looks at what runs here
_PATIENCE = 600.0  # seconds that an answer waits for a broker that is gone
_OVERDUE_STATUS = 70  # EX_SOFTWARE
_REFUSALS = 10.0  # that are sent in a second, at the most


class Heartbeat:
    """Speaks for one process that runs calls: to each call's coordinator, about that coordinator's calls."""

    def __init__(self, app: Celery, pool_state: PoolState | None) -> None:
        self.pid = os.getpid()
        self.worker = ms.worker_name(ms.this_host(), self.pid)
        self._pool_state = pool_state
        self._places = pool_state if in_pool_process() else None
        self._publisher = Publisher(app)
        self._calls: dict[str, tuple[RunningCall, str]] = {}
        self._busy = threading.Event()
        self._longest = 0.0
        self._refused = 0
        self._refusals = TokenBucket(_REFUSALS, time.monotonic() - 1.0)
        threading.Thread(target=self._watch, name="manifold-heartbeat", daemon=True).start()

    @contextmanager
    def calling(self, call_id: str, reply_to: str) -> Iterator[None]:
        """Around one call, which its coordinator is told about from here on."""
        self.tell(reply_to, ms.Started(call_id, self.worker), patience=5.0)
        self._longest = 0.0
        if self._places is not None and (before := self._places.begin(call_id, reply_to)) is not None:
            self.tell(before.reply_to.decode(), _died(before), patience=5.0)
        with beat.calling(call_id) as call:
            call.report = lambda: self._report(call)
            if in_pool_process():
                call.retire = _retire
            self._calls[call_id] = call, reply_to
            self._busy.set()
            try:
                yield
            finally:
                del self._calls[call_id]
                if not self._calls:
                    self._busy.clear()
                    if self._places is not None:
                        self._places.end()

    def tell(self, reply_to: str, message: ms.Message, patience: float = _PATIENCE) -> None:
        """Send, and while the broker is gone try again for `patience` seconds."""
        until, pause = time.monotonic() + patience, 0.1
        while not self._publisher.reply(reply_to, message):
            if time.monotonic() > until:
                log.error("%s could not tell %s of %s", self.worker, reply_to, type(message).__name__)
                return
            time.sleep(pause)
            pause = min(2.0, 2 * pause)

    def refuse(self, reply_to: object, refused: ms.Refused) -> None:
        """Tell a coordinator that its call was not run, if it could be one. The call was not signed, so nor is this."""
        self._refused += 1
        refusals.count()  # the main process tells everybody how many there were
        if rarely(self._refused):
            log.warning("refused call %s: %s", f"{self._refused:,}", refused.why)
        # Whoever sends many calls that are none must not have a queue made for each.
        if ms.is_reply_queue(reply_to) and self._refusals.take(1, time.monotonic()):
            self.tell(str(reply_to), refused, patience=5.0)

    def _watch(self) -> None:
        spoke = time.monotonic()
        while self._busy.wait():
            time.sleep(_LOOK)
            speak = time.monotonic() - spoke >= ms.BEAT
            spoke = time.monotonic() if speak else spoke
            try:
                self._look(speak)
            except Exception:
                log.exception("%s could not tell what it runs", self.worker)  # and goes on: silence looks like death

    def _look(self, speak: bool) -> None:
        if self._pool_state is not None and self._pool_state.leaving() and not beat.draining():
            beat.drain()
        calls = list(self._calls.values())
        for call, _ in calls:
            self._report(call)
        if in_pool_process():
            self._end_if_overdue(calls)
        if speak:
            self._speak(calls)

    def _speak(self, calls: list[tuple[RunningCall, str]]) -> None:
        running: dict[str, dict[str, int]] = {}
        for call, reply_to in calls:
            running.setdefault(reply_to, {})[call.token] = call.position()
        for reply_to, positions in running.items():
            self._publisher.reply(reply_to, ms.Running(self.worker, positions, draining=beat.draining()))

    def _end_if_overdue(self, calls: list[tuple[RunningCall, str]]) -> None:
        """End this process over an item that does not yield; and if it does not even let this thread run, be ended."""
        now = time.monotonic()
        for call, reply_to in calls:
            if beat.overdue(call):
                self.tell(reply_to, ms.Overdue(call.token, self.worker, call.position()), patience=5.0)
                os._exit(_OVERDUE_STATUS)
        deadlines = [deadline for call, _ in calls if (deadline := call.deadline()) is not None]
        # An item that begins right after this look may take as long as any item was ever seen to be given.
        self._longest = max((self._longest, *(deadline - now + _LOOK for deadline in deadlines))) if deadlines else 0.0
        if self._places is not None and self._busy.is_set():
            self._places.expect(now + self._longest if deadlines else None)

    def _report(self, call: RunningCall) -> None:
        """Make known how far a call is, should this process die of the next item."""
        if self._places is not None:
            self._places.at(call.position())


class NodeHeartbeat:
    """Speaks for the main process of a Celery worker: that it serves, how many slots are free, which calls it holds.

    Each time that the broker took it, the file that `MANIFOLD_ALIVE` names is touched: a health check looks at its age.
    """

    def __init__(self, consumer: Any, pool_state: PoolState) -> None:
        self._alive = os.environ.get("MANIFOLD_ALIVE")
        self._consumer = consumer
        self._pool_state = pool_state
        self._publisher = Publisher(consumer.app)
        self._life = uuid.uuid4().hex[:16]
        threading.Thread(target=self._speak, name="manifold-node-heartbeat", daemon=True).start()

    def _speak(self) -> None:
        while (pool := self._pool()) is not None:
            try:
                self._announce(*pool)
            except ConfigError as exc:
                log.error("no coordinator will send calls to this worker: %s", exc)
                return
            except Exception:
                log.exception("a Celery worker could not tell what it holds")  # and goes on: silence looks like death
            time.sleep(ms.BEAT)

    def _announce(self, slots: int, pids: list[int]) -> None:
        active, reserved = _copied(state.active_requests), _copied(state.reserved_requests)
        ours = [request for request in active if request.task_name == ms.TASK]
        self._end_overdue(ours)
        if not self._pool_state.leaving():
            self._tell_deaths(pids)
        serving = ms.Serving(
            node=self._consumer.hostname,
            host=ms.this_host(),
            pid=os.getpid(),
            queues=sorted(self._consumer.app.amqp.queues.consume_from),
            pids=pids,
            slots=slots,
            others=len(active) - len(ours),
            held=[r.id for r in reserved if r.task_name == ms.TASK and not r.delivery_info.get("redelivered")],
            leaving=self._pool_state.leaving(),
            refused=refusals.total(),
            life=self._life,
        )
        if self._publisher.announce(serving) and self._alive:
            Path(self._alive).touch()

    def _pool(self) -> tuple[int, list[int]] | None:
        """How many tasks the pool runs at once, and its processes; None once it is being taken down."""
        pool = self._consumer.pool
        try:
            return pool.num_processes, pool.info.get("processes") or [os.getpid()]
        except AttributeError:
            return None

    def _end_overdue(self, ours: list[Any]) -> None:
        overdue = self._pool_state.overdue(time.monotonic())
        for request in ours:
            if (pid := request.worker_pid) in overdue:
                worker = ms.worker_name(ms.this_host(), pid)
                self._publisher.reply(request.reply_to, ms.Overdue(request.id, worker, None))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _tell_deaths(self, living: list[int]) -> None:
        """Tell of each process of the pool that died in the midst of a call, and which item it was at."""
        for place, entry in self._pool_state.dead(living):
            if self._publisher.reply(entry.reply_to.decode(), _died(entry)):
                self._pool_state.forget(place, entry)


def _retire() -> None:
    """End this process of the pool after its call, as a SIGTERM does; Celery starts another one."""
    os.kill(os.getpid(), signal.SIGTERM)


def _died(entry: Entry) -> ms.Died:
    return ms.Died(entry.call.decode(), ms.worker_name(ms.this_host(), entry.pid), entry.position)


def _copied(requests: Any) -> list[Any]:
    """The requests of a set that the worker's own thread changes meanwhile."""
    while True:
        try:
            return list(requests)
        except RuntimeError:  # it changed while it was read
            continue
