"""What the results of a chunk weigh as they come, so that a chunk ends before they weigh too much.

Items are handed out in small batches, at C speed; after each batch one of its results is weighed and stands for the
others. So an item that is done in less than a microsecond pays some nanoseconds, and results that grow in the midst
of a chunk are noticed after at most `_LONGEST` of them, or at once where items take a millisecond or longer.
"""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from manifold.protocol.proof import pass_on

_LONGEST = 256
"""Items between two looks, at the most."""
_NEAR = 4 * _LONGEST
_SLOW = 0.001
"""Seconds that a batch takes at the most, where items let it."""
_SMALL = frozenset({int, float, bool, type(None)})
_SAMPLE = 16  # members of a large container that are weighed
_DEPTH = 4


class Meter:
    """The weight of the results of one chunk, in bytes, about as they are pickled.

    Args:
        most: bytes at which the chunk ends, with what is done.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.held = 0

    @property
    def full(self) -> bool:
        """The results weigh as much as they may."""
        return self.most is not None and self.held >= self.most

    def add(self, value: Any) -> None:
        """Count one result in."""
        self.held += weight(value)

    def batches(self, items: list[Any], values: list[Any]) -> Iterator[Iterator[Any]]:
        """Yield the items, some at a time, until all are out, or the results, which the caller appends to `values`,
        weigh enough. What is left of a batch is in the next one."""
        pending: Any = iter(items)
        size, seen = 1, len(values)
        clock, left = time.perf_counter, pending.__length_hint__
        most = sys.maxsize if self.most is None else self.most
        began = clock()
        while left() and self.held < most:
            yield islice(pending, size)
            now, count = clock(), len(values) - seen
            if count:
                seen += count
                value = values[-1]
                each = 8 if type(value) in _SMALL else weight(value)
                held = self.held = self.held + each * count
                # At full size nothing changes but by slow items, or near the end of what there is room for.
                if size < _LONGEST or now - began > _SLOW or most - held < _NEAR * each:
                    size = self._next(size, each, now - began)
            began = now

    def _next(self, size: int, each: int, seconds: float) -> int:
        size = min(2 * size, _LONGEST) if seconds < _SLOW else max(1, size // 2)
        room = size if self.most is None else int((self.most - self.held) / max(1, 4 * each))
        return max(1, min(size, room))


def weight(value: Any) -> int:
    """Return about how many bytes `value` has when it is pickled."""
    kind = type(value)
    if kind in _SMALL:
        return 8
    if kind is str or kind is bytes:
        return len(value)
    try:
        size = getattr(value, "nbytes", None)
        return size if isinstance(size, int) else len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except BaseException as exc:  # noqa: BLE001 - a user's code
        pass_on(exc)
    try:
        return _guessed(value, _DEPTH)
    except BaseException as exc:  # noqa: BLE001 - likewise, and of an item that has its outcome
        pass_on(exc)
        return 64


def _guessed(value: Any, depth: int) -> int:
    """The weight of what Python's own pickler does not take, such as objects of classes in a script."""
    size = sys.getsizeof(value, 64)
    if isinstance(value, dict):
        parts: Any = chain.from_iterable(value.items())
        count = 2 * len(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts, count = value, len(value)
    else:
        parts = list(getattr(value, "__dict__", {}).values())
        count = len(parts)
    if not depth or not count:
        return size
    some = [_guessed(part, depth - 1) for part in islice(iter(parts), _SAMPLE)]
    return size + sum(some) * count // len(some)
