"""What is scattered while others send what they should not."""

from __future__ import annotations

import time


def square(n: int) -> int:
    time.sleep(0.002)
    return n * n
