"""The functions that are scattered. In a module of their own, so that every peer can import them by name."""

from __future__ import annotations

import time


def noop(x: int) -> int:
    return x


def burn(x: int) -> int:
    """10 ms of this process's CPU, measured by its own clock."""
    end = time.process_time() + 0.010
    while time.process_time() < end:
        pass
    return x
