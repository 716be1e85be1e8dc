"""The calls that no worker holds."""

from __future__ import annotations

import threading
from collections import deque

from manifold.engines.processes.worker import Call
from manifold.errors import EngineError


class Backlog:
    """A queue of calls. Any thread may use it.

    Attributes:
        closed: no more are added.
        broken: why none of them can ever run.
    """

    def __init__(self) -> None:
        self.closed = False
        self.broken: str | None = None
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: Call) -> None:
        """Queue a call; in a broken backlog it fails at once. Raises RuntimeError after `close`."""
        with self._lock:
            if self.closed:
                raise RuntimeError("this engine is shut down; open another one")
            if self.broken is None:
                self._calls.append(call)
                return
        call.fail(EngineError(self.broken))

    def take(self) -> Call | None:
        """The next call that is to run; its future counts as running from now on."""
        while True:
            with self._lock:
                if not self._calls:
                    return None
                call = self._calls.popleft()
            if call.running() or call.set_running_or_notify_cancel():
                return call

    def take_back(self, call: Call) -> None:
        """Let a call that was taken be the next again."""
        with self._lock:
            self._calls.appendleft(call)

    def close(self, *, cancel: bool) -> None:
        """Refuse further calls; with `cancel`, drop those that have never been taken."""
        with self._lock:
            self.closed = True
            waiting = list(self._calls) if cancel else []
            if cancel:
                self._calls = deque(call for call in waiting if call.running())
        for call in waiting:
            if call.cancel():
                call.set_running_or_notify_cancel()

    def fail(self, reason: str) -> None:
        """Fail every call, and each one that is added later."""
        with self._lock:
            self.broken = reason
            calls, self._calls = self._calls, deque()
        for call in calls:
            if call.running() or call.set_running_or_notify_cancel():
                call.fail(EngineError(reason))
