"""Figures that are costly to count, kept until the scatter changes: several people may watch the same page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class Remembered:
    """The latest answers of this process, each valid for one mark."""

    def __init__(self, size: int = 128) -> None:
        self._kept: LRUCache[Hashable, tuple[Hashable, Any]] = LRUCache(size)
        self._lock = threading.Lock()

    def get(self, key: Hashable, mark: Hashable, count: Callable[[], T]) -> T:
        """What `count` returned for this key and mark before, or returns now."""
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept[0] == mark:
            return kept[1]  # type: ignore[no-any-return]
        counted = count()
        with self._lock:
            self._kept[key] = (mark, counted)
        return counted

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()


remembered = Remembered()
"""Of this process."""
