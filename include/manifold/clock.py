"""The real clock. A simulation brings its own."""

from __future__ import annotations

import threading
import time

from manifold.abc import Clock


class SystemClock(Clock):
    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, signal: threading.Event, timeout: float) -> None:
        signal.wait(timeout)
