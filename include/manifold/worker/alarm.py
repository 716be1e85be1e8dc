"""`item_timeout` for functions that are not `async def`: an alarm in the main thread, a deadline everywhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from manifold.errors import ItemTimeout
from manifold.worker import forks

_GRACE = 2.0  # seconds that an item may ignore its alarm before its process is ended


class Alarm:
    """Interrupts an item that runs longer than `timeout` seconds, where it runs in the main thread."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._began: float | None = None
        self._rings = threading.current_thread() is threading.main_thread()
        if self._rings:
            forks.in_child(_silence)

    def deadline(self) -> float | None:
        """When (by `time.monotonic`) the item at hand has ignored its alarm; None where none runs."""
        began = self._began
        return None if began is None else began + self._timeout + _GRACE

    def around(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """`call`, which raises ItemTimeout where it takes too long."""
        return self._ringing(call) if self._rings else self._watched(call)

    def _watched(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def watched(item: Any) -> Any:
            self._began = time.monotonic()
            try:
                return call(item)
            finally:
                self._began = None

        return watched

    def _ringing(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        ring = _Ring(self)

        def ringing(item: Any) -> Any:
            self._began = time.monotonic()
            before = signal.signal(signal.SIGALRM, ring)
            try:
                signal.setitimer(signal.ITIMER_REAL, self._timeout)
                return call(item)
            except _Rings:
                raise ItemTimeout(f"ran longer than item_timeout={self._timeout:g} s") from None
            finally:
                self._began = None
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)

        return ringing

    @property
    def runs(self) -> bool:
        """An item runs; else the alarm rings just as it ends."""
        return self._began is not None


class _Ring:
    """The handler of SIGALRM."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    def __call__(self, _signal: int, _frame: object) -> None:
        if self._alarm.runs:
            raise _Rings


class _Rings(BaseException):
    """Not an Exception, so that a user's `except Exception` does not swallow it."""


def _silence() -> None:
    if isinstance(signal.getsignal(signal.SIGALRM), _Ring):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
