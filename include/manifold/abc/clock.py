"""Time and waiting."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod


class Clock(ABC):
    """Time and waiting, handed to the coordinator so that a simulation can own both."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds; only differences mean something."""

    @abstractmethod
    def wait(self, signal: threading.Event, timeout: float) -> None:
        """Return when `signal` is set, or after `timeout` seconds."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        self.wait(threading.Event(), seconds)
