"""What a Celery worker's main process and its pool tell each other without the interpreter's or the broker's help."""

from __future__ import annotations

import mmap
import os
import struct

import billiard

_ROW = struct.Struct("qd")  # process id, monotonic seconds
_ROWS = 4096
_GRACE = 2.0  # seconds for a process to end itself, which knows better what ran


class Board:
    """Memory shared across fork: made by the main process before its pool.

    The first row says whether the worker is leaving; each other one belongs to one place in the pool, and says until
    when the process there may go without writing again.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _ROWS * _ROW.size)

    def leave(self) -> None:
        """Have every process of the pool end its calls early. For a signal handler, too."""
        self._page[0] = 1

    def leaving(self) -> bool:
        return self._page[0] == 1

    def expect(self, until: float | None) -> None:
        """Called in the pool: this process writes again before `until` (monotonic seconds), or is overdue."""
        place: int = billiard.current_process().index + 1
        if place < _ROWS:
            _ROW.pack_into(self._page, place * _ROW.size, os.getpid(), until or 0.0)

    def overdue(self, now: float) -> set[int]:
        """The processes that should have written."""
        rows = _ROW.iter_unpack(self._page[_ROW.size :])
        return {pid for pid, until in rows if until and now > until + _GRACE}


def in_pool_process() -> bool:
    """This is a process of a pool, so its end costs no more than what it runs."""
    return bool(billiard.current_process().name != "MainProcess")
