"""A call and a worker process, as their coordinator sees them."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from manifold.engines.payload import load_error
from manifold.engines.processes.frames import Frame, Kind, Link, unpack_result
from manifold.engines.processes.status_page import StatusPage
from manifold.errors import Unpicklable, WorkerLost
from manifold.protocol.records import WorkerInfo


class Call(Future[Any]):
    """A call that was submitted. `unwanted` is set when somebody wants it stopped."""

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self.number = frame.call
        self.frame: Frame | None = frame
        self.unwanted = False

    def settle(self, answer: Frame) -> None:
        """Take over the result or the exception that a worker sent."""
        self.frame = None  # its arguments are not needed any more
        try:
            if answer.kind == Kind.ERROR:
                self.set_exception(load_error(answer.pickled))
            else:
                self.set_result(unpack_result(answer))
        except Exception as exc:  # noqa: BLE001 - unpickling runs a user's code
            error = Unpicklable(f"what the call returned or raised cannot be unpickled here: {exc}")
            error.__cause__ = exc
            self.set_exception(error)

    def fail(self, error: BaseException) -> None:
        self.frame = None
        self.set_exception(error)


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process. `number` is the pool's name for it; `held` are the calls sent to it and not answered.

    `latest` is the number of the last call that it was sent.
    """

    number: int
    link: Link
    status_page: StatusPage
    held: dict[int, Call] = field(default_factory=dict)
    latest: int = 0
    pid: int = 0
    killed: bool = False
    hung_up: bool = False
    recalled: int = 0
    _beats: int = 0
    _heard: float = field(default_factory=time.monotonic)
    _idle_since: float | None = None

    @property
    def name(self) -> str:
        return f"{socket.gethostname()}:{self.pid}"

    def info(self, *, alive: bool = True) -> WorkerInfo:
        """The worker for people, and for the coordinator's own judgement."""
        held = list(self.held)
        holding = tuple(str(number) for number in held)
        done = max((self.status_page.position(number) or 0 for number in held), default=0)  # it runs one at a time
        silence = max(0.0, time.monotonic() - self._heard)
        return WorkerInfo(self.name, socket.gethostname(), self.pid, silence, holding, alive, done=done)

    def came_up(self) -> bool:
        return self.status_page.beats() > 0

    def takes_calls(self) -> bool:
        return not (self.killed or self.hung_up or self.status_page.draining())

    def running(self) -> Call | None:
        """The call that it has begun and not answered."""
        return self.held.get(self.status_page.begun())

    def spare(self) -> int | None:
        """The call to ask back, which it holds beside the one it runs; None if there is none, or it was asked for."""
        begun = self.status_page.begun()
        spare = next((number for number in reversed(self.held) if number != begun), None)
        if self.hung_up or spare is None or spare == self.recalled or len(self.held) < 2:
            return None
        self.recalled = spare
        return spare

    def look(self, now: float) -> None:
        """Notice whether it is alive and whether it is idle."""
        beats = self.status_page.beats()
        if beats != self._beats:
            self._beats, self._heard = beats, now
        if self.running() is not None:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now

    def must_go(self, now: float, grace: float) -> bool:
        """It should have ended by itself: over an item that is overdue, or after a SIGTERM, with nothing left to do."""
        running = self.running()
        if running is None:
            idle = 0.0 if self._idle_since is None else now - self._idle_since
            return self.status_page.draining() and idle > grace
        deadline = self.status_page.deadline(running.number)
        if deadline is not None and now > deadline + grace:
            self.status_page.expire(running.number)  # it cannot say so itself: the item keeps the interpreter's lock
            return True
        return running.unwanted

    def loss(self, code: int) -> WorkerLost:
        """The error of the call that it ran when it ended."""
        call = self.status_page.begun()
        error = WorkerLost(f"worker {self.name} {_ending(code)} while it ran this call")
        error.started = True
        error.overdue = self.status_page.overdue(call)
        error.died = error.overdue or not (self.killed or self.status_page.draining())
        error.position = self.status_page.position(call)
        error.worker = self.name
        error.witnessed = True
        return error


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    cause = " (by somebody, or by the system for want of memory)" if name == "SIGKILL" else ""
    return f"was ended by {name}{cause}"
