"""The items of a chunk as they came, for whatever happens after a failure: a function may change what it is given."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Sequence
from typing import Any

from manifold.protocol import envelope
from manifold.protocol.task import Broken

_ATOMIC = frozenset({int, float, complex, bool, str, bytes, type(None), decimal.Decimal})
"""What no function can change."""


class Originals:
    """The unchanged items of one chunk. Nothing is paid until an item has failed.

    Args:
        load: unpickles the chunk's items once more.
    """

    def __init__(self, load: Callable[[], Sequence[Any]]) -> None:
        self._load = load
        self._items: Sequence[Any] | None = None
        self._packed: tuple[int, bytes | None] = -1, None

    def item(self, index: int) -> Any:
        """The item as it came. It is shared: whoever might change it takes `fresh`."""
        if self._items is None:
            self._items = self._load()
        return self._items[index]

    def first(self, count: int) -> list[Any]:
        """The first items of the chunk."""
        return [self.item(index) for index in range(count)]

    def packed(self, index: int) -> bytes | None:
        """The item's pickle; None where it has none."""
        if self._packed[0] != index:
            item = self.item(index)
            raw = item.raw if isinstance(item, Broken) else envelope.dumps_if_possible(item)
            self._packed = index, raw
        return self._packed[1]

    def fresh(self, index: int) -> Any:
        """A copy of the item as it came, for one more execution."""
        item = self.item(index)
        if type(item) in _ATOMIC or isinstance(item, Broken):
            return item
        packed = self.packed(index)
        # What came in a pickle and will not go into one again is unpickled with the whole chunk.
        return self._load()[index] if packed is None else envelope.loads(packed)
