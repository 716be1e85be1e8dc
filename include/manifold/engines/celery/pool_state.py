"""What a Celery worker's main process and its pool tell each other without the interpreter's or the broker's help."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Collection
from typing import NamedTuple

import billiard

_ROW = struct.Struct("qdq40s64s")
_POSITION = struct.Struct("q")
_AT = struct.calcsize("qd")
_ROWS = 4096
_GRACE = 2.0  # seconds for a process to end itself, which knows better what ran


class Entry(NamedTuple):
    """What one process of the pool is at: call and coordinator are empty between calls."""

    pid: int
    until: float
    """When (by `time.monotonic`) it must have written again, or is overdue; 0: never."""
    position: int
    call: bytes
    reply_to: bytes


class PoolState:
    """Memory shared across fork: made by the main process before its pool.

    The first row says whether the worker is leaving; each other one is the `Entry` of one place in the pool.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _ROWS * _ROW.size)

    def leave(self) -> None:
        """Have every process of the pool end its calls early. For a signal handler, too."""
        self._page[0] = 1

    def leaving(self) -> bool:
        return self._page[0] == 1

    # -- in the pool -------------------------------------------------------------------------------------------------

    def begin(self, call: str, reply_to: str) -> Entry | None:
        """This process begins a call. What the one before it in this place was at when it died, if it did."""
        if (place := _place()) is None:
            return None
        before = Entry(*_ROW.unpack_from(self._page, place))
        _ROW.pack_into(self._page, place, os.getpid(), 0.0, 0, call.encode(), reply_to.encode())
        return _bare(before) if before.pid != os.getpid() and before.call.strip(b"\0") else None

    def at(self, position: int) -> None:
        """How many items of its call are done."""
        if (place := _place()) is not None:
            _POSITION.pack_into(self._page, place + _AT, position)

    def expect(self, until: float | None) -> None:
        """This process writes again before `until` (monotonic seconds), or is overdue."""
        if (place := _place()) is not None:
            struct.pack_into("qd", self._page, place, os.getpid(), until or 0.0)

    def end(self) -> None:
        """The call is over."""
        if (place := _place()) is not None:
            _ROW.pack_into(self._page, place, os.getpid(), 0.0, 0, b"", b"")

    # -- in the main process -----------------------------------------------------------------------------------------

    def overdue(self, now: float) -> set[int]:
        """The processes that should have written."""
        return {entry.pid for _, entry in self._entries() if entry.until and now > entry.until + _GRACE}

    def dead(self, living: Collection[int]) -> list[tuple[int, Entry]]:
        """What processes were at that are not among the living any more, each with its place."""
        return [(place, _bare(entry)) for place, entry in self._entries() if entry.pid not in living]

    def forget(self, place: int, entry: Entry) -> None:
        """It is told; unless another process is at work in its place, nobody else need tell it."""
        if Entry(*_ROW.unpack_from(self._page, place)).pid == entry.pid:
            _ROW.pack_into(self._page, place, 0, 0.0, 0, b"", b"")

    def _entries(self) -> list[tuple[int, Entry]]:
        """Those of calls, by place."""
        rows = enumerate(_ROW.iter_unpack(self._page))
        found = [(number * _ROW.size, Entry(*row)) for number, row in rows if number and row[0]]
        return [(place, entry) for place, entry in found if entry.call.strip(b"\0")]


def in_pool_process() -> bool:
    """This is a process of a pool, so its end costs no more than what it runs."""
    return bool(billiard.current_process().name != "MainProcess")


def _place() -> int | None:
    """Where this process of the pool writes; None where there are too many."""
    number: int = billiard.current_process().index + 1
    return number * _ROW.size if number < _ROWS else None


def _bare(entry: Entry) -> Entry:
    return entry._replace(call=entry.call.rstrip(b"\0"), reply_to=entry.reply_to.rstrip(b"\0"))
