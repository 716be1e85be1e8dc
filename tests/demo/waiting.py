"""Waiting for a condition, with a bound."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return once it holds; an AssertionError that names it after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def running(pid: int) -> bool:
    """Whether that process is there and not merely unburied."""
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def in_sessions(leaders: Iterable[int]) -> list[int]:
    """The processes of those sessions."""
    wanted, found = set(leaders), []
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) in wanted and running(pid):
                found.append(pid)
    return found
