"""A worker, wherever: takes calls from a transport, and runs them in processes of its own host.

It is a supervisor around `processes://N`: it unpickles nothing itself, and outlives whatever an item does to its
process.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from manifold.engines._remote import messages as ms
from manifold.engines._remote.answers import Answers
from manifold.engines._remote.execute import run
from manifold.engines._remote.links import Connect, Listener, Publisher
from manifold.engines._remote.recent import Recent
from manifold.engines._sealed import Call, decoded
from manifold.engines.payload import dump_error
from manifold.engines.processes.engine import ProcessesEngine
from manifold.errors import WireError, WorkerLost
from manifold.protocol import envelope
from manifold.protocol.task import Versions
from manifold.token_bucket import TokenBucket

log = logging.getLogger(__name__)

_SOON = 0.2  # seconds after a change in which it is told
_SILENT = 60  # beats without a sign of life of a coordinator after which its calls that wait are given up
_FULL = 512 * 1024 * 1024  # bytes of calls that wait and of answers that nobody has taken, after which none is taken
_GOODBYE = 10.0  # seconds for coordinators to take the last answers


class Worker:
    """One worker. `serve` returns after `leave`, when what it held has ended.

    Args:
        connect: makes a transport.
        slots: processes, each of which runs one call at a time.
        queue: whose coordinators it serves.
        drain_seconds: how long calls that run may take to end, once it was told to leave; None: as long as they like.
        max_memory: bytes that a process may have after a call; one with more is replaced.
        each_beat: is called once a beat, where messages come in.
    """

    def __init__(
        self,
        connect: Connect,
        slots: int,
        queue: str,
        *,
        drain_seconds: float | None = None,
        max_memory: int | None = None,
        each_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._slots = slots
        self._queue = queue
        self._drain_seconds = drain_seconds
        self._max_memory = max_memory
        self._each_beat = each_beat
        self.node = ms.mailbox(ms.workers(queue), uuid.uuid4().hex)
        self._everyone = ms.coordinators(queue)
        self._processes = ProcessesEngine(slots)
        self._lock = threading.RLock()
        self._waiting: OrderedDict[str, deque[tuple[envelope.Header, bytes]]] = OrderedDict()  # by coordinator
        self._running: dict[str, tuple[envelope.Header, Future[Any]]] = {}
        self._recent = Recent()
        self._heard_of: dict[str, int] = {}  # coordinators: the tick of their latest sign of life
        self._tick = 1
        self._bytes = 0  # of calls that wait
        self.done = 0
        self.refused = 0
        self._refusals = TokenBucket(10.0, time.monotonic() - 1.0)
        self._due = 0.0
        self.leaving = False
        self._rest_until = 0.0
        self._left_at: float | None = None
        self._idle_at: float | None = None  # when, after it was told to leave, nothing ran any more
        self._publisher = Publisher(connect, "manifold-send")
        self._answers = Answers(self._publisher, self.node)
        self._listener = Listener(
            connect,
            self._publisher,
            self.node,
            ms.workers(queue),
            broken=lambda: None,
            opened=self._speak,
        )

    def serve(self) -> None:
        """Take calls until told to leave."""
        self._listener.listen(self._heard, self._unsigned, self._turn)
        self._publisher.say(self._everyone, self._serving(over=True), everyone=True)
        self._processes.shutdown(wait=True, cancel_futures=True)
        self._publisher.close()
        self._publisher.join()

    def leave(self) -> None:
        """Take no more calls, end those that run after the item at hand, and return from `serve`. In any thread, and
        in a signal handler."""
        self.leaving, self._due = True, 0.0

    @property
    def connected(self) -> bool:
        return self._listener.connected

    def figures(self) -> dict[str, float]:
        """Return what it does now, for metrics."""
        with self._lock:
            waiting = sum(map(len, self._waiting.values()))
            running, unanswered = len(self._running), len(self._answers)
        return {
            "slots": self._slots,
            "running": running,
            "waiting": waiting,
            "answers_not_taken": unanswered,
            "calls_done_total": self.done,
            "messages_refused_total": self.refused,
            "connected": float(self.connected),
        }

    def _speak(self) -> None:
        self._due = 0.0

    def _soon(self) -> None:
        self._due = min(self._due, time.monotonic() + _SOON)

    def _turn(self) -> bool:
        """Say what is held where that is due; True when it is over."""
        now = time.monotonic()
        if self.leaving and self._left_at is None:
            self._begin_to_leave(now)
        if now >= self._due:
            self._due = now + ms.BEAT
            self._publisher.say(self._everyone, self._serving(), everyone=True)
        return self._left_at is not None and self._is_over(now, now - self._left_at)

    def _begin_to_leave(self, now: float) -> None:
        self._left_at = now
        with self._lock:
            waiting = [header for calls in self._waiting.values() for header, _ in calls]
            self._waiting.clear()
            self._bytes = 0
        for header in waiting:
            self._refuse(header, "it is about to end", "leaving")
        self._processes.drain()

    def _is_over(self, now: float, seconds: float) -> bool:
        limit = self._drain_seconds
        if self._running and (limit is None or seconds <= limit):
            return False
        with self._lock:
            overdue, self._running = list(self._running.values()), {}
        for header, future in overdue:
            self._processes.kill(future)
            why = f"{self.node} was told to end, and the call did not end within {limit:g} s"
            self._answers.lost(self._sender(header), ms.Lost(header.attempt, why, self.node, started=True))
        self._idle_at = now if self._idle_at is None else self._idle_at
        return not len(self._answers) or now - self._idle_at > _GOODBYE

    def _heard(self, message: ms.Message | ms.Sealed) -> None:
        match message:
            case ms.Echo(beat):
                if beat:
                    self._beat()
            case ms.Hello(engine, first):
                self._heard_of[engine] = self._tick
                if first:
                    self._speak()
            case ms.Taken(calls):
                for call in calls:
                    self._answers.taken(call)
            case ms.Drop(call):
                self._drop(call)
            case ms.Rest(seconds):
                self._rest_until = time.monotonic() + seconds
                log.info("told to take no calls for %g s", seconds)
                self._speak()
            case ms.Sealed(header, payload) if header.kind == "call" and ms.is_unique(header.uid):
                self._take(header, payload)

    def _beat(self) -> None:
        self._tick += 1
        self._each_beat()
        self._recent.forget(self._tick)
        self._answers.send_again(self._tick)
        with self._lock:
            silent = [uid for uid in self._waiting if self._tick - self._heard_of.get(uid, self._tick) > _SILENT]
            for uid in silent:
                log.warning("coordinator %s is silent: %d of its calls are given up", uid, len(self._waiting[uid]))
                self._bytes -= sum(len(pickled) for _, pickled in self._waiting.pop(uid))
        for uid in [uid for uid, tick in self._heard_of.items() if self._tick - tick > 2 * _SILENT]:
            del self._heard_of[uid]

    def _unsigned(self, data: bytes, why: WireError) -> None:
        self.refused += 1
        log.warning("refused message %s: %s", f"{self.refused:,}", why)
        try:
            header = envelope.peek(data)
        except WireError:
            return
        if header.kind == "call" and ms.is_unique(header.uid) and self._refusals.take(1, time.monotonic()):
            self._refuse(header, f"{self.node} did not unpickle the call: {why}", "signature")

    def _take(self, header: envelope.Header, payload: bytes) -> None:
        """Keep a call until a process is free; one that came before, or for another worker, does nothing."""
        if header.nonce != self.node or header.attempt in self._recent:
            return
        call: Call = decoded(payload, Call)
        if not 0 <= self._tick - header.start <= ms.WINDOW:
            self._refuse(header, f"the call is {self._tick - header.start} beats old", "stale")
        elif difference := call.versions.differs(Versions.here()):
            self._refuse(header, f"{difference} {self.node}; install the same on both", "versions")
        elif self.leaving:
            self._refuse(header, "it is about to end", "leaving")
        elif self._bytes + self._answers.bytes > _FULL:
            self._refuse(header, f"{self.node} waits for its answers to be taken", "full")
        else:
            self._recent.add(header.attempt, self._tick)
            self._heard_of.setdefault(header.uid, self._tick)
            with self._lock:
                self._waiting.setdefault(header.uid, deque()).append((header, call.pickled))
                self._bytes += len(call.pickled)
            self._feed()

    def _refuse(self, header: envelope.Header, why: str, reason: ms.Reason) -> None:
        self._publisher.say(self._sender(header), ms.Refused(header.attempt, why, self.node, reason), patience=60.0)

    def _sender(self, header: envelope.Header) -> str:
        return ms.mailbox(ms.coordinators(self._queue), header.uid)

    def _feed(self) -> None:
        """Each coordinator in its turn, so that none waits for all of another's."""
        with self._lock:
            while self._waiting and len(self._running) < self._slots:
                uid, calls = next(iter(self._waiting.items()))
                header, pickled = calls.popleft()
                self._bytes -= len(pickled)
                self._waiting.move_to_end(uid)
                if not calls:
                    del self._waiting[uid]
                future = self._processes.submit(run, pickled, self._max_memory)
                self._running[header.attempt] = header, future
                self._soon()
                future.add_done_callback(partial(self._over, header))

    def _over(self, header: envelope.Header, future: Future[Any]) -> None:
        with self._lock:
            if self._running.pop(header.attempt, None) is None:
                return  # given up, and said so
            self.done += 1
        to = self._sender(header)
        error = WorkerLost("the call was dropped") if future.cancelled() else future.exception()
        if error is None:
            self._answers.add(to, header, *future.result())
        elif isinstance(error, WorkerLost):
            known = {name: getattr(error, name) for name in ("worker", "started", "died", "overdue", "position")}
            self._answers.lost(to, ms.Lost(header.attempt, str(error), self.node, **known))
        else:
            self._answers.add(to, header, False, dump_error(error))
        self._feed()

    def _drop(self, call: str) -> None:
        """A coordinator does not want it any more."""
        self._answers.taken(call)
        with self._lock:
            _, future = self._running.get(call, (None, None))
            for uid, calls in list(self._waiting.items()):
                for header, pickled in [one for one in calls if one[0].attempt == call]:
                    calls.remove((header, pickled))
                    self._bytes -= len(pickled)
                    lost = ms.Lost(call, "the call was given up before it began", self.node)
                    self._answers.lost(self._sender(header), lost)
                if not calls:
                    del self._waiting[uid]
        if future is not None:
            self._processes.kill(future)

    def _serving(self, *, over: bool = False) -> ms.Serving:
        with self._lock:
            held = {header.attempt: ms.Held() for calls in self._waiting.values() for header, _ in calls}
            running = dict(self._running)
            held |= {call: ms.Held(answered=True) for call in self._answers.calls()}
        places = self._processes.places()
        held |= {call: ms.Held(*places.get(future, (None, None))) for call, (_, future) in running.items()}
        pids = [worker.pid for worker in self._processes.workers() if worker.alive]
        host, slots = socket.gethostname(), 0 if over else self._slots
        rest = self._rest_until - time.monotonic()
        resting = f"excluded by hand for {rest:.0f} s more" if rest > 0 else ""
        return ms.Serving(self.node, host, slots, pids, held, self._tick, self.leaving, self.refused, resting)
