"""How many calls the processes of a Celery worker have refused, because nobody of this deployment had signed them.

In memory that is shared across fork, with a place for each process of the pool that only this one writes: what a
process has counted survives it, and nobody waits for anybody.
"""

from __future__ import annotations

import mmap
import struct

import billiard

_PLACES = 4096
_COUNT = struct.Struct("q")
_page: mmap.mmap | None = None


def share() -> None:
    """Called by the worker's main process, before it makes its pool."""
    global _page
    _page = mmap.mmap(-1, _PLACES * _COUNT.size)


def count() -> None:
    """One more, refused by this process. Nothing where no Celery worker has called `share`."""
    process = billiard.current_process()
    place = 0 if process.name == "MainProcess" else min(process.index + 1, _PLACES - 1)
    if _page is not None:
        _COUNT.pack_into(_page, place * _COUNT.size, _COUNT.unpack_from(_page, place * _COUNT.size)[0] + 1)


def total() -> int:
    """Those of all processes, since the worker began."""
    return sum(one for (one,) in _COUNT.iter_unpack(_page[:])) if _page is not None else 0
