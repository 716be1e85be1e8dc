"""The items of a chunk that is out: kept as the message that carries them, not as objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from manifold.protocol import envelope, proof, salvage


class HeldItems(Sequence[Any]):
    """Items of which only the message is kept, signed and compressed, as the engine has it as well.

    They are unpickled each time they are asked for, which is when a chunk is cut, or an item is given up. One that
    cannot be unpickled here is a `salvage.Unreadable`.

    Args:
        size: how many items there are.
        packed: reads their pickle from the message.
    """

    __slots__ = ("_packed", "_size")

    def __init__(self, size: int, packed: Callable[[], bytes]) -> None:
        self._size = size
        self._packed = packed

    def packed(self) -> bytes:
        """Return the pickled list."""
        return self._packed()

    def items(self) -> list[Any]:
        """Return the items, unpickled."""
        data = self._packed()
        try:
            return envelope.loads(data)  # type: ignore[no-any-return]
        except proof.BROKEN:
            return salvage.load_items(data)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.items()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items())
