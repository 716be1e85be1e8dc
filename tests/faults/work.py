"""What the items do, with an answer that is known beforehand."""

from __future__ import annotations

import os
import signal
import time

ITEMS = 20_000


def work(item: int, seconds: float, poison: int | None) -> int:
    """`answer(item)`, after so many seconds; the item `poison` kills its process."""
    time.sleep(seconds)
    if item == poison:
        os.kill(os.getpid(), signal.SIGKILL)
    return (item * 2_654_435_761 + 12_345) % 2**32


def answer(item: int) -> int:
    """What `work` must have returned."""
    return (item * 2_654_435_761 + 12_345) % 2**32
