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


class SignalTimer:
    """Calls a handler of SIGALRM when its time has passed."""

    def __init__(self) -> None:
        forks.in_child(_silence)

    def attach(self, ring: Ring) -> None:
        """Make `ring` the handler."""
        self._before = signal.signal(signal.SIGALRM, ring)

    def start(self, seconds: float) -> None:
        """Call the handler after `seconds`, in the midst of whatever runs then."""
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def detach(self) -> None:
        """Call it no more, and put back the handler that was there."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


def timer_here() -> SignalTimer | None:
    """Return a timer; None outside the main thread, which no signal interrupts."""
    return SignalTimer() if threading.current_thread() is threading.main_thread() else None


class Alarm:
    """Interrupts an item that runs longer than `timeout` seconds, where it runs in the main thread.

    Args:
        monotonic, timer: the worker's clock, and a timer by that clock.
    """

    def __init__(
        self,
        timeout: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        timer: Callable[[], SignalTimer | None] = timer_here,
    ) -> None:
        self._timeout = timeout
        self._monotonic = monotonic
        self._timer = timer()
        self._began: float | None = None

    def deadline(self) -> float | None:
        """When (by the worker's clock) the item at hand has ignored its alarm; None where none runs."""
        began = self._began
        return None if began is None else began + self._timeout + _GRACE

    def around(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """`call`, which raises ItemTimeout where it takes too long."""
        return self._watched(call) if self._timer is None else self._ringing(call, self._timer)

    def _watched(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def watched(item: Any) -> Any:
            self._began = self._monotonic()
            try:
                return call(item)
            finally:
                self._began = None

        return watched

    def _ringing(self, call: Callable[[Any], Any], timer: SignalTimer) -> Callable[[Any], Any]:
        ring = Ring(self)

        def ringing(item: Any) -> Any:
            self._began = self._monotonic()
            timer.attach(ring)
            try:
                timer.start(self._timeout)
                return call(item)
            except _Rings:
                raise ItemTimeout(f"ran longer than item_timeout={self._timeout:g} s") from None
            finally:
                self._began = None
                timer.detach()

        return ringing

    @property
    def runs(self) -> bool:
        """An item runs; else the alarm rings just as it ends."""
        return self._began is not None


class Ring:
    """The handler of SIGALRM."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    def __call__(self, _signal: int = signal.SIGALRM, _frame: object = None) -> None:
        if self._alarm.runs:
            raise _Rings


class _Rings(BaseException):
    """Not an Exception, so that a user's `except Exception` does not swallow it."""


def _silence() -> None:
    if isinstance(signal.getsignal(signal.SIGALRM), Ring):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
