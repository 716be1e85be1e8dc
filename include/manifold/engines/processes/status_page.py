"""One page of memory that a worker writes and its coordinator reads, even after the worker was killed."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from typing import Self

# Native layout: each field is stored by one aligned write, so that none is ever seen half written.
_NUMBER = struct.Struct("Q")
_PLACE = struct.Struct("QQd")  # call, position, deadline
_AT_BEGUN, _AT_PLACE, _AT_OVERDUE, _AT_DRAINING, _AT_BEATS = 0, 8, 32, 40, 48


class StatusPage:
    """What a worker does, by its own account. Calls go by their numbers; 0 is none."""

    def __init__(self, descriptor: int) -> None:
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)

    @classmethod
    def new(cls) -> tuple[Self, int]:
        """A fresh page, and the descriptor by which a worker opens the same one; the caller closes that."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("manifold-status")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, mmap.PAGESIZE)
        return cls(descriptor), descriptor

    def close(self) -> None:
        self._page.close()

    # What the worker writes

    def begin(self, call: int) -> None:
        """It begins this call."""
        self._write(_AT_BEGUN, call)

    def report(self, call: int, position: int, deadline: float | None) -> None:
        """In this call so many items are done, and the one at hand may run until `deadline` (monotonic seconds)."""
        _PLACE.pack_into(self._page, _AT_PLACE, call, position, deadline or 0.0)

    def expire(self, call: int) -> None:
        """The item at hand in this call is overdue; the process ends because of it."""
        self._write(_AT_OVERDUE, call)

    def drain(self) -> None:
        """It was told to end, and takes no more calls."""
        self._write(_AT_DRAINING, 1)

    def beat(self) -> None:
        """It is alive."""
        self._write(_AT_BEATS, self.beats() + 1)

    # What the coordinator reads

    def begun(self) -> int:
        """The call that it began last."""
        return self._read(_AT_BEGUN)

    def position(self, call: int) -> int | None:
        """Items done in this call; None if it never said."""
        of, position, _ = _PLACE.unpack_from(self._page, _AT_PLACE)
        return position if of == call else None

    def deadline(self, call: int) -> float | None:
        """Until when the item at hand in this call may run, in monotonic seconds of this host; None: for ever."""
        of, _, deadline = _PLACE.unpack_from(self._page, _AT_PLACE)
        return deadline or None if of == call else None

    def overdue(self, call: int) -> bool:
        return self._read(_AT_OVERDUE) == call

    def draining(self) -> bool:
        return bool(self._read(_AT_DRAINING))

    def beats(self) -> int:
        """Grows while it is alive."""
        return self._read(_AT_BEATS)

    def _read(self, at: int) -> int:
        value: int = _NUMBER.unpack_from(self._page, at)[0]
        return value

    def _write(self, at: int, value: int) -> None:
        _NUMBER.pack_into(self._page, at, value)
