"""What waits in a worker, by that worker's own clock: an event loop, and the timer behind an item's alarm."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from manifold.worker.alarm import Ring, SignalTimer


class SimTimer(SignalTimer):
    """Rings when the worker's clock says so, in the midst of whatever the item at hand does then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.due: float | None = None
        self._clock = clock

    def attach(self, ring: Ring) -> None:
        self._ring = ring

    def start(self, seconds: float) -> None:
        self.due = self._clock() + seconds

    def detach(self) -> None:
        self.due = None

    def ring(self) -> None:
        """The signal comes; once, as a timer of the system's."""
        self.due = None
        self._ring()


class SimLoop(asyncio.BaseEventLoop):
    """One of a worker process. It waits for nothing, and lets simulated time pass instead.

    Args:
        clock: tells the time.
        sleep: lets it pass.
        idle: is called where everything waits for something that never comes.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None], idle: Callable[[], None]) -> None:
        super().__init__()
        self._clock = clock
        self._sleep = sleep
        self._idle = idle
        # What the base class asks of its heirs; it is the same in every Python from 3.11 to 3.13.
        vars(self)["_selector"] = self
        vars(self)["_clock_resolution"] = 1e-6  # a sum of floats may end a little short of what it is to reach

    def time(self) -> float:
        return self._clock()

    def select(self, timeout: float | None) -> list[Any]:
        """No file is ever ready: the time passes, and that is all."""
        if timeout is None:
            self._idle()
        elif timeout > 0:
            self._sleep(timeout)
        return []

    def _process_events(self, events: list[Any]) -> None:
        assert not events

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


@contextmanager
def left_behind() -> Iterator[None]:
    """Within it no loop runs in this thread: the process that was running one stands still for ever."""
    running, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
    asyncio._set_running_loop(None)
    sys.set_asyncgen_hooks(None, None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)
        sys.set_asyncgen_hooks(*hooks)
