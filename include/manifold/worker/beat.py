"""What this process is running, for whoever keeps watch over it: an engine's heartbeat, its drain, its watchdog.

The engine's worker-side code opens a call; the code that runs inside it reports how far it is and how to stop it early.
Neither knows the other. Reading a snapshot from another thread costs the running call nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from manifold.worker import forks


@dataclass(slots=True, eq=False)
class RunningCall:
    """One running call. `token` names it for the engine; `position` says how many of its items are done."""

    token: str
    position: Callable[[], int] = field(default=lambda: 0)
    stop: Callable[[], None] = field(default=lambda: None)
    """Ends the call after the item at hand; what is done until then is returned."""
    deadline: Callable[[], float | None] = field(default=lambda: None)
    """When (by `time.monotonic`) the item at hand has run past its timeout and does not yield, so that only the end of
    the process stops it; None: never."""
    report: Callable[[], None] = field(default=lambda: None)
    """Set by the engine: makes position and deadline known to whoever keeps watch at once, not at the next beat. For
    items that may end the process, or keep the interpreter's lock for ever."""
    retire: Callable[[], None] = field(default=lambda: None)
    """Set by the engine, where it can start a process anew: ends this one after the call."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A call as a snapshot shows it."""

    token: str
    position: int
    overdue: bool


_calls: dict[int, RunningCall] = {}
_current: ContextVar[RunningCall | None] = ContextVar("manifold_call", default=None)
_draining = False


@contextmanager
def calling(token: str) -> Iterator[RunningCall]:
    """Around one call, in the thread that runs it."""
    forks.in_child(_in_child)
    call = RunningCall(token)
    _calls[id(call)] = call
    reset = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(reset)
        _calls.pop(id(call), None)


def current() -> RunningCall:
    """The call of this thread or task; one that nobody watches where no engine opened one."""
    return _current.get() or RunningCall("")


def snapshot() -> list[Beat]:
    """What runs now. From any thread."""
    return [Beat(call.token, call.position(), overdue(call)) for call in list(_calls.values())]


def running() -> list[RunningCall]:
    """The calls that run now. From any thread."""
    return list(_calls.values())


def overdue(call: RunningCall) -> bool:
    """The deadline of the item at hand has passed."""
    deadline = call.deadline()
    return deadline is not None and time.monotonic() > deadline


def drain() -> None:
    """Stop every running call after its item at hand, and each later one after its first. For SIGTERM handlers."""
    global _draining
    _draining = True
    for call in list(_calls.values()):
        call.stop()


def draining() -> bool:
    """`drain` was called in this process."""
    return _draining


def _in_child() -> None:
    """A forked child runs nothing of what its parent runs."""
    global _draining
    _draining = False
    _calls.clear()
    _current.set(None)
