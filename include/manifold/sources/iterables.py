"""Inputs that are only walked through: once, or as often as one likes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from manifold.abc import Source
from manifold.errors import InputGone


class IterableSource(Source):
    """What an object yields, anew each time it is walked through. Its length is known if it has one."""

    kind = "iterable"

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __repr__(self) -> str:
        return f"<{type(self._items).__name__}, re-iterable>"

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        return {}

    def fingerprint(self) -> None:
        return None

    def total(self) -> int | None:
        return len(self._items) if isinstance(self._items, Sized) else None

    def read(self, start: int = 0) -> Iterator[Any]:
        return islice(self._items, start, None)


class IteratorSource(Source):
    """What an iterator yields, once: a generator, a cursor, an open file.

    The coordinator keeps its items until they are committed. A later try brings a new iterator, which is accepted
    where its items' digests are those that were committed.
    """

    kind = "iterator"
    one_shot = True

    def __init__(self, items: Iterator[Any]) -> None:
        self._items: Iterator[Any] | None = items

    def __repr__(self) -> str:
        return "<an iterator, read once>"

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        return {}

    def fingerprint(self) -> None:
        return None

    def total(self) -> None:
        return None

    def read(self, start: int = 0) -> Iterator[Any]:
        if self._items is None:
            raise InputGone(
                "this iterator was read before, and cannot be read again; give a list, a file, an object that can be "
                "iterated again, or keep its items with manifold.spool(items, path)"
            )
        items, self._items = self._items, None
        return islice(items, start, None)
