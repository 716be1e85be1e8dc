"""The calls that a coordinator has sent and not heard the end of, and when each of them counts as lost.

Time here is time spent listening: it moves by one beat whenever the coordinator's own `Echo` comes back through the
broker. So a broker that is gone, a coordinator that was stopped, or a queue of unread beats makes nobody look silent.

A call is *waiting* until some worker has fetched it, then *held*, then *started*:

* Held or started, it is lost after `silence` seconds without a sign of life of the process that has it.
* Handed out by the broker a second time, it is lost unless the first process gives a sign of life soon after. So it is
  when a worker refuses it: a worker without the right secret cannot sign its refusal, so anybody may have sent it, and
  it is nobody's death.
* Waiting is never a fault by itself: other scatters may be before it. Only when a later call has been fetched from
  the same queue, which gives out in order, and it still has not, is it gone.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from manifold.engines.celery import messages as ms
from manifold.errors import WorkerLost

Sign = ms.Started | ms.Running | ms.Serving | ms.Redelivered | ms.Refused
"""What tells of a call without ending it."""
_DOUBT = 2.5  # seconds for a process to speak up after the broker gave its call away
_ORDER = 5.0  # seconds for news of a call to arrive, once a later one was fetched
_PROBE = 10.0  # seconds of waiting before a probe is sent after it, and then another, at twice the distance each time
_PROBE_MOST = 160.0


@dataclass(slots=True, eq=False)
class Sent:
    """One call in flight. Times are listening time."""

    id: str
    future: Future[Any]
    name: str = ""
    """What it is sealed and answered under: the engine's own name, or that of a coordinator before it."""
    probe: bool = False
    place: int | None = None
    """Its place in the order of sending; None until it is sent."""
    since: float = 0.0
    heard: float = 0.0
    node: str | None = None
    """The Celery worker that has fetched it."""
    worker: str | None = None
    """The process that runs it."""
    position: int | None = None
    doubted: float | None = None
    """Since when a second delivery, or a refusal, speaks against that process."""
    refused: str | None = None
    """What a refusal said."""
    passed: float | None = None
    """Since when a later call is known to have been fetched, while this one waits."""
    adopted: bool = False
    """A coordinator before this one has sent it."""
    excused: bool = False
    """Silence would not prove a death: the process was told to stop, or the broker may have lost its messages."""

    @property
    def fetched(self) -> bool:
        return self.node is not None or self.worker is not None

    @property
    def waiting(self) -> bool:
        return self.place is not None and not self.fetched


@dataclass(frozen=True, slots=True)
class Loss:
    """A verdict."""

    call: Sent
    why: str
    overdue: bool = False
    witnessed: bool = False

    def error(self) -> WorkerLost:
        """What the future fails with."""
        call = self.call
        lost = WorkerLost(f"{self.why} (call {call.id})")
        lost.started = call.worker is not None
        lost.died = lost.started and (self.overdue or not call.excused)
        lost.position, lost.worker, lost.overdue = call.position, call.worker, self.overdue
        lost.witnessed = self.witnessed
        return lost


@dataclass
class InFlight:
    """The calls in flight. Safe to use from several threads; never touches a future, so that no callback runs inside.

    Args:
        silence: seconds without a sign of life after which a process is gone.
    """

    silence: float
    now: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _calls: dict[str, Sent] = field(default_factory=dict)
    _places: int = 0
    _fetched: int = -1
    """The last place known to have been fetched: every call before it has been too, or is gone."""
    _next_probe: float = 0.0
    _probe_pause: float = _PROBE

    def idle(self) -> bool:
        """Nobody waits for anything."""
        with self._lock:
            return all(call.probe for call in self._calls.values())

    def add(self, call: Sent) -> None:
        with self._lock:
            self._calls[call.id] = call

    def get(self, call_id: str) -> Sent | None:
        with self._lock:
            return self._calls.get(call_id)

    def remove(self, call_id: str) -> Sent | None:
        """The call, which is in flight no longer; None where it was not, so that only one caller ends it."""
        with self._lock:
            call = self._calls.pop(call_id, None)
            if call is not None and call.fetched:
                self._note_fetched(call)
            return call

    def all(self) -> list[Sent]:
        with self._lock:
            return list(self._calls.values())

    def sent(self, call_id: str) -> None:
        """The broker has it."""
        with self._lock:
            call = self._calls.get(call_id)
            if call is not None:
                call.place, call.since = self._places, self.now
                self._places += 1

    def heard(self, message: Sign) -> None:
        """A sign of life, or one to the contrary."""
        with self._lock:
            match message:
                case ms.Started(call, worker):
                    self._runs(call, worker, 0)
                case ms.Running(worker, calls, draining):
                    for call, position in calls.items():
                        self._runs(call, worker, position, excused=draining)
                case ms.Serving(node, held=held, leaving=leaving):
                    for call in held:
                        self._holds(call, node, excused=leaving)
                case ms.Redelivered(call_id):
                    if (sent := self._calls.get(call_id)) is not None:
                        sent.doubted = self.now
                case ms.Refused(call_id, why):
                    if (sent := self._calls.get(call_id)) is not None:
                        sent.doubted, sent.refused, sent.excused = self.now, why, True

    def disturb(self) -> None:
        """The connection to the broker broke: what was under way may be lost without anybody's death."""
        with self._lock:
            for call in self._calls.values():
                call.excused = True
            self._next_probe, self._probe_pause = self.now + _PROBE, _PROBE

    def tick(self) -> list[Loss]:
        """One beat of listening has passed; the calls that are lost now (still in flight until removed)."""
        with self._lock:
            self.now += ms.BEAT
            return [Loss(call, why) for call in self._calls.values() if (why := self._lost(call)) is not None]

    def wants_probe(self) -> bool:
        """Something has waited so long that it is worth asking whether the queue still has it; asks ever less often."""
        with self._lock:
            since = [call.since for call in self._calls.values() if call.waiting and not call.probe]
            if not since or self.now - min(since) <= _PROBE:
                self._probe_pause = _PROBE
                return False
            if self.now < self._next_probe:
                return False
            self._next_probe = self.now + self._probe_pause
            self._probe_pause = min(_PROBE_MOST, 2 * self._probe_pause)
            return True

    def _runs(self, call_id: str, worker: str, position: int, *, excused: bool = False) -> None:
        if (call := self._calls.get(call_id)) is not None:
            call.worker, call.position = worker, position
            self._lives(call, excused)

    def _holds(self, call_id: str, node: str, *, excused: bool) -> None:
        """The main process speaks for a child, too, that is too busy to."""
        if (call := self._calls.get(call_id)) is not None and call.node in {None, node}:
            call.node = node
            self._lives(call, excused)

    def _lives(self, call: Sent, excused: bool) -> None:
        call.heard, call.doubted, call.refused, call.excused = self.now, None, None, call.excused or excused
        self._note_fetched(call)

    def _note_fetched(self, call: Sent) -> None:
        if call.place is not None:
            self._fetched = max(self._fetched, call.place)

    def _lost(self, call: Sent) -> str | None:
        if call.doubted is not None and self.now - call.doubted >= _DOUBT:
            if call.refused is not None:
                return call.refused
            return f"the broker gave the call out again, and {call.worker or 'the first worker'} does not report"
        if call.fetched:
            if self.now - call.heard <= self.silence:
                return None
            return f"{call.worker or call.node} was silent for {self.silence:g} s"
        if call.place is None or call.place > self._fetched:
            return None
        call.passed = self.now if call.passed is None else call.passed
        if self.now - call.passed < _ORDER:
            return None
        return "the message was lost on its way: a later one of the same queue has been fetched"
