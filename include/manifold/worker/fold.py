"""The values of a chunk folded by `reduce`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manifold.protocol.codec import Segment


def folded(
    reduce: Callable[[Any, Any], Any], values: Sequence[Any], marks: Mapping[int, str], positions: Sequence[int]
) -> list[Segment]:
    """One segment per run of positions that no failure or gap breaks. Raises what `reduce` raises.

    Args:
        values: of the items that succeeded, in order.
        marks: the outcome of the others, as index → "f" or "s".
        positions: of all items that have an outcome.
    """
    found = list[Segment]()
    rest = iter(values)
    start: int | None = None
    partial: Any = None
    filled, last = False, -1

    def close() -> None:
        if start is not None and filled:
            found.append(Segment(start, last + 1, partial))

    for index, pos in enumerate(positions):
        mark = marks.get(index)
        if mark == "f" or (start is not None and pos != last + 1):
            close()
            start, filled = None, False
        if mark != "f":
            start, last = (pos if start is None else start), pos
        if mark is None:
            value = next(rest)
            partial = reduce(partial, value) if filled else value
            filled = True
    close()
    return found
