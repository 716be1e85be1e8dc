"""Chunks: how many items each gets, how they are cut in two, and how their items are packed for the wire."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from manifold.coordinator.held import HeldItems
from manifold.protocol import envelope, salvage
from manifold.protocol.records import MAX_CHUNK, Why
from manifold.protocol.task import Unsendable
from manifold.text import a_type, shortened, storable
from manifold.worker import error_report

TARGET_SECONDS = 1.0
"""Work in a chunk: long enough that its cost (a message, a commit, a blob) vanishes, short enough to lose."""
_SMALLEST_SECONDS = 0.05  # near the end of the input, chunks shrink to this, so that all slots end together
_FILLED = 0.75  # of what results may weigh, so that few chunks end early
_GROWTH = 16  # a chunk has at most so many times the items of the largest one that was measured


@dataclass(slots=True, eq=False, weakref_slot=True)
class Chunk:
    """A run of neighbouring items that waits to be sent, or is out.

    Args:
        items: a range, a list, or with `raw` the items' own pickles; of a chunk that is out, `HeldItems`.
        positions: for an overlay, the positions of the items; the range [start, stop) then has gaps.
        died_on: the worker processes that died of it, in order, on the way to being called poison.
        excused: deaths that were laid to its host instead.
        hosts_lost: hosts that were lost whole while they ran it.
        sent: how often it was sent.
        refused: how often a worker could not set the function up for it.
        each: every item must travel in a pickle of its own.
        failing_since: when the store first did not keep what a worker made of it (monotonic seconds).
        prove: every result must be proven readable before it is folded.
    """

    start: int
    stop: int
    items: Sequence[Any]
    layer: int = 0
    positions: list[int] | None = None
    raw: bool = False
    why: Why = "first"
    excused: int = 0
    hosts_lost: int = 0
    died_on: list[str] = field(default_factory=list)
    sent: int = 0
    refused: int = 0
    not_before: float = 0.0
    each: bool = False
    prove: bool = False
    failing_since: float | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def strikes(self) -> int:
        return len(self.died_on)

    def copy(self) -> Chunk:
        """The same items once more, beside this one. Its strikes are this one's."""
        return replace(self, why="speculative", sent=0, not_before=0.0)

    def part(self, low: int, high: int, why: Why) -> Chunk:
        """The chunk of the items with index low to high - 1. Strikes do not pass on: each part earns its own."""
        if self.positions is None:
            start, stop, positions = self.start + low, self.start + high, None
        else:
            positions = self.positions[low:high]
            start, stop = positions[0], positions[-1] + 1
        return Chunk(
            start,
            stop,
            self.items[low:high],
            self.layer,
            positions,
            self.raw,
            why,
            excused=self.excused,
            hosts_lost=self.hosts_lost,
            each=self.each,
            prove=self.prove,
        )

    def split(self, at: int | None, why: Why = "half") -> list[Chunk]:
        """The chunk cut where it died: before the item at index `at`, that item, and the rest in half.

        What a dead worker last reported may be behind what it did, so the rest is halved as well: whatever the
        report is worth, a poison item is alone after log2 of the chunk's size.
        """
        size = len(self)
        known = at is not None and 0 <= at < size
        rest = (at or 0) + 1 if known else 0
        cuts = {0, (rest + size) // 2, size} | ({at or 0, rest} if known else set())
        return [self.part(low, high, why) for low, high in pairwise(sorted(cuts))]

    def pack(self) -> dict[str, Any]:
        """The items for the wire: the one field of a `ChunkTask` that carries them."""
        if self.raw:
            return {"each": list(self.items)}
        if isinstance(self.items, range) and not self.each:
            return {"span": (self.items.start, self.items.stop, self.items.step)}
        if isinstance(self.items, HeldItems) and not self.each:
            return {"packed": self.items.packed()}
        if not self.each:
            try:
                return {"packed": envelope.dumps(list(self.items))}
            except Exception:  # noqa: BLE001 - pickling runs a user's code; found one by one below
                self.each = True
        return {"each": [_pack_one(item) for item in self.items]}


def _pack_one(item: Any) -> bytes | Unsendable:
    if isinstance(item, salvage.Unreadable):
        return Unsendable(storable(shortened(f"the item cannot be unpickled: {item.reason}", 300)), repr(item))
    try:
        return envelope.dumps(item)
    except Exception as exc:  # noqa: BLE001 - pickling runs a user's code
        reason = f"the item, {a_type(item)}, cannot be pickled: {type(exc).__name__}: {exc}"
        return Unsendable(shortened(reason, 300), error_report.shown(item))


class Sizer:
    """How many items the next chunk gets.

    Args:
        fixed: the user's `chunk_size`, or None to adapt.
        first: items in a chunk before anything was measured.
        max_bytes: of a chunk's pickled items.
        max_results: of their results; None: the same.
    """

    def __init__(self, fixed: int | None, first: int, max_bytes: int, max_results: int | None = None) -> None:
        self._fixed = fixed
        self._first = first
        self._max_bytes = max_bytes
        self._max_results = max_results or max_bytes
        self._per_item: deque[tuple[int, float]] = deque(maxlen=32)
        self._largest = first
        self._item_bytes: float | None = None
        self._result_bytes: float | None = None

    def size(self, remaining: int | None, slots: int) -> int:
        """Items for the next chunk; `remaining` is how many are left to plan, None if unknown."""
        size = self._fixed or self._adapted(remaining, slots)
        return max(1, min(size, self.fitting()))

    def fitting(self) -> int:
        """How many items there may be in a chunk, so that neither they nor their results weigh too much."""
        sizes = [MAX_CHUNK]
        if self._item_bytes:
            sizes.append(int(self._max_bytes / self._item_bytes))
        if self._result_bytes:
            sizes.append(int(_FILLED * self._max_results / self._result_bytes))
        return max(1, min(sizes))

    def _adapted(self, remaining: int | None, slots: int) -> int:
        seconds = self.item_seconds()
        if seconds is None:
            return self._first
        size = min(MAX_CHUNK, math.ceil(TARGET_SECONDS / max(seconds, 1e-9)), self._largest * _GROWTH)
        if remaining is not None:
            # Guided self-scheduling (Polychronopoulos and Kuck, 1987): a share of what is left.
            fair = math.ceil(remaining / max(1, 2 * slots))
            size = min(size, max(fair, math.ceil(_SMALLEST_SECONDS / max(seconds, 1e-9))))
        return size

    def item_seconds(self) -> float | None:
        """Seconds that an item takes lately; None before the first measurement."""
        items = sum(count for count, _ in self._per_item)
        return sum(seconds for _, seconds in self._per_item) / items if items else None

    def measured(self, items: int, seconds: float) -> None:
        """A chunk of `items` took `seconds` on its worker."""
        if items:
            self._per_item.append((items, seconds))
            self._largest = max(self._largest, items)

    def packed(self, items: int, size: int) -> None:
        """A chunk of `items` weighs `size` bytes."""
        if items:
            self._item_bytes = _smoothed(self._item_bytes, size / items)

    def returned(self, results: int, size: int) -> None:
        """So many results weigh `size` bytes."""
        if results:
            self._result_bytes = _smoothed(self._result_bytes, size / results)

    def straggles(self, seconds: float, items: int) -> bool:
        """`seconds` is far more than `items` take: three times the median, and at least 2 s more."""
        if len(self._per_item) < 3 or not items:
            return False
        usual = statistics.median(took / count for count, took in self._per_item) * items
        return seconds > max(3 * usual, usual + 2.0)


def _smoothed(before: float | None, now: float) -> float:
    """Follow a growing figure at once, and a shrinking one slowly."""
    return now if before is None else max(now, (before + now) / 2)
