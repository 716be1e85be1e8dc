"""Inputs that lie in memory: a range, a list, any sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from manifold.abc import Source
from manifold.protocol.digests import item_digest, whole_digest

_AT_ONCE = 64  # items that are asked of a sequence which is not a list in one call


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

    Its fingerprint is its length and a digest of all items, made in one pass when it is first asked for (a million
    numbers take 20 ms, a million small dicts 200 ms). It has none where an item has no stable form: then the digests of
    the committed chunks are compared. A part of some results goes by what it is a part of.
    """

    kind = "list"
    sliceable = True

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self._fingerprint: str | None = None
        self._asked = False

    def __repr__(self) -> str:
        return f"<{type(self._items).__name__} of {len(self._items):,} items>"

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        return {}

    def fingerprint(self) -> str | None:
        if not self._asked:
            self._asked = True
            part = getattr(self._items, "identity", None)
            digest = part if isinstance(part, str) else self._digest()
            self._fingerprint = None if digest is None else f"list:{len(self._items)}:whole:{digest}"
        return self._fingerprint

    def _digest(self) -> str | None:
        items = self._items if isinstance(self._items, (list, tuple)) else self.read()
        kinds: set[type] = set()
        digest = whole_digest(items, kinds)
        # The encoder takes a date for its text, and a list for a tuple; the latter XCom does, too.
        names = sorted({"list" if kind is tuple else kind.__qualname__ for kind in kinds})
        return None if digest is None else item_digest([names, digest])

    def total(self) -> int:
        return len(self._items)

    def read(self, start: int = 0) -> Iterator[Any]:
        # Not `iter`: where an item costs a call to a server, a sequence may have a cheaper way to give many.
        for at in range(start, len(self._items), _AT_ONCE):
            yield from self.slice(at, at + _AT_ONCE)

    def slice(self, start: int, stop: int) -> Sequence[Any]:
        try:
            part = self._items[start:stop]
        except TypeError:  # a deque has no slices
            part = [self._items[at] for at in range(start, min(stop, len(self._items)))]
        return part if isinstance(part, (list, tuple)) else list(part)
