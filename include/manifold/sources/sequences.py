"""Inputs that lie in memory: a range, a list, any sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from manifold.abc import Source
from manifold.protocol.itemdigest import item_digest

_SAMPLES = 64


class RangeSource(Source):
    """The numbers of a range. A chunk of it is a range again, a few bytes whatever its length."""

    kind = "range"
    sliceable = True

    def __init__(self, items: range) -> None:
        self._items = items

    def __repr__(self) -> str:
        return repr(self._items)

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        return {}

    def fingerprint(self) -> str:
        # As Python compares ranges: by what they hold, not by how they were written.
        items = self._items
        return f"range:{len(items)}:{items[0] if items else None}:{items.step if len(items) > 1 else None}"

    def total(self) -> int:
        return len(self._items)

    def read(self, start: int = 0) -> Iterator[int]:
        return iter(self._items[start:])

    def slice(self, start: int, stop: int) -> range:
        return self._items[start:stop]


class SequenceSource(Source):
    """The items of a list, a tuple, or another sequence, an XCom among them.

    Its fingerprint is its length and the digests of 64 items spread over it; what that misses, the digests of the
    committed chunks find.
    """

    kind = "list"
    sliceable = True

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items

    def __repr__(self) -> str:
        return f"<{type(self._items).__name__} of {len(self._items):,} items>"

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        return {}

    def fingerprint(self) -> str:
        n = len(self._items)
        spread = sorted({at * (n - 1) // (_SAMPLES - 1) for at in range(_SAMPLES)}) if n else []
        return f"list:{n}:{item_digest([item_digest(self._items[at]) for at in spread])}"

    def total(self) -> int:
        return len(self._items)

    def read(self, start: int = 0) -> Iterator[Any]:
        # Not `iter`: where an item costs a call to a server, a sequence may have a cheaper way to give many.
        for at in range(start, len(self._items), _SAMPLES):
            yield from self.slice(at, at + _SAMPLES)

    def slice(self, start: int, stop: int) -> Sequence[Any]:
        try:
            part = self._items[start:stop]
        except TypeError:  # a deque has no slices
            part = [self._items[at] for at in range(start, min(stop, len(self._items)))]
        return part if isinstance(part, (list, tuple)) else list(part)
