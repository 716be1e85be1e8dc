"""What is still to run: the input walked in step with what is committed, cut into chunks where it has gaps."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from manifold.abc import Source
from manifold.coordinator.chunks import Chunk
from manifold.errors import InputGone, ItemsChanged
from manifold.protocol.digests import chunk_digest, left_out
from manifold.protocol.records import ChunkRow
from manifold.text import counted

_SKIP = 10_000  # items read at once where a committed row is passed over


class Reader:
    """Runs of items of a source. Each may lie anywhere; going forward reads nothing twice."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._walk: Iterator[Any] | None = None
        self._at = 0

    def take(self, start: int, size: int) -> Sequence[Any]:
        """The items from `start` on, `size` of them or fewer at the end. Raises whatever reading the input raises."""
        if self._source.sliceable:
            return self._source.slice(start, start + size)
        if self._walk is None or self._at > start:
            self._walk = self._source.read(start)
        else:  # go on from where it stands: opening it anew for each gap would read its beginning each time
            deque(islice(self._walk, start - self._at), maxlen=0)
        items = list(islice(self._walk, size))
        self._at = start + len(items)
        return items


@dataclass(frozen=True, slots=True)
class Span:
    """A range that a chunk in flight covers: passed over like a committed row."""

    start: int
    stop: int


def in_order(rows: Iterable[ChunkRow], spans: Iterable[Span]) -> Iterator[ChunkRow | Span]:
    """Yield both by start, without rows inside a span: they were committed since it was put in flight."""
    at = 0
    given: tuple[Iterable[ChunkRow | Span], ...] = (sorted(spans, key=_start), rows)
    for one in heapq.merge(*given, key=_start):
        if one.start >= at:
            at = one.stop
            yield one


def _start(one: ChunkRow | Span) -> int:
    return one.start


class Planner:
    """Chunks for every position that no committed row covers, in order.

    Args:
        source: the input, pinned.
        rows: the committed base rows by start, and what is in flight already.
        strikes: (start, stop) of attempts whose worker died, from this and earlier coordinators: the positions
            they cover are sent in pieces that can find the poison item.
        check: compare the items of committed rows with their digests while passing them.
        may_differ: the items of a row that may be others by now, as they were, by position.
        total: how many items an earlier try has counted, where the source cannot tell.

    Afterwards `frontier` is the first position not looked at yet, and `ended_at` the number of items, once known.
    """

    def __init__(
        self,
        source: Source,
        rows: Iterator[ChunkRow | Span],
        *,
        strikes: Sequence[tuple[int, int]] = (),
        check: bool = False,
        may_differ: Callable[[ChunkRow], Mapping[int, Any]] | None = None,
        total: int | None = None,
    ) -> None:
        self._source = source
        self._reader = Reader(source)
        self._rows = rows
        self._row = next(rows, None)
        self._strikes = strikes
        self._total = total if (known := source.total()) is None else known
        self._check = check or source.one_shot
        self._may_differ = may_differ
        self.frontier = 0
        self.ended_at: int | None = None
        self.tell: Callable[[str], None] = lambda _text: None
        """Is told, once at the end of the input, which committed items could not be compared."""
        self._unchecked: tuple[int, str] | None = None
        self._n_unchecked = 0

    def remaining(self) -> int | None:
        """Positions not looked at yet; None if the input's length is unknown."""
        return None if self._total is None else max(0, self._total - self.frontier)

    def expected(self) -> int | None:
        """How many items there will be, by how much of the input is read; None while that says nothing."""
        share = self._source.share_read()
        return round(self.frontier / share) if share and self.frontier else None

    def next(self, size: int) -> Chunk | None:
        """The next chunk, of at most `size` items; None at the end of the input.

        Raises:
            ItemsChanged: the input is not the one that was committed.
            InputGone: a one-shot input does not begin where it did.
            Exception: whatever reading the input raises.
        """
        if self.ended_at is not None:
            return None
        while self._row is not None and self._row.start == self.frontier:
            self._pass(self._row)
            self._row = next(self._rows, None)
        size, struck = self._bounded(size)
        items = self._take(size)
        if not items:
            self._end()
            return None
        chunk = Chunk(self.frontier, self.frontier + len(items), items)
        if self._total is not None and chunk.stop > self._total:
            raise ItemsChanged(f"the input goes on after {self._total:,} items, which is all it had, or said it had")
        if struck and len(items) == 1:
            chunk.died_on = [f"an earlier process {number + 1}" for number in range(struck)]
        self.frontier = chunk.stop
        return chunk

    def _bounded(self, size: int) -> tuple[int, int]:
        """`size`, cut at the next committed row and where workers died before; and how many died of exactly this."""
        start = self.frontier
        if self._row is not None:
            size = min(size, self._row.start - start)
        size = min([size, *(low - start for low, _ in self._strikes if start < low < start + size)])
        over = [(low, high) for low, high in self._strikes if low <= start < high]
        if not over:
            return size, 0
        low, high = min(over, key=lambda span: span[1] - span[0])
        count = over.count((low, high))
        if high - low == 1:
            return 1, count
        return min(size, high - start, max(1, (high - low) // 2) if count > 1 else high - start), 0

    def _take(self, size: int) -> Sequence[Any]:
        return self._reader.take(self.frontier, size)

    def _pass(self, row: ChunkRow | Span) -> None:
        """Go past a committed row, looking at its items where that is asked for or cannot be avoided."""
        if isinstance(row, Span):
            self.frontier = row.stop
            return
        if not self._check or row.items_digest is None:
            if self._check:
                self._not_compared(row)
            if not self._source.sliceable and self._check:
                self._read_over(row)
            self.frontier = row.stop
            return
        items = list(self._take(row.stop - row.start))
        if len(items) < row.stop - row.start:
            self._short(row.start + len(items), row)
        found = chunk_digest(items)
        if found is None:
            self._not_compared(row)
        if found not in (None, row.items_digest) and not self._differs_as_it_may(row, items):
            raise ItemsChanged(
                f"items {row.start:,} to {row.stop - 1:,} are not those that were committed at the first try. "
                "Nothing was mixed: start again with fresh (clear the task, or fresh=True), or restore the input"
            )
        self.frontier = row.stop

    def _differs_as_it_may(self, row: ChunkRow, items: list[Any]) -> bool:
        if self._may_differ is None or not row.n_failed:
            return False
        for pos, item in self._may_differ(row).items():
            items[pos - row.start] = item
        return chunk_digest(items) == row.items_digest

    def _not_compared(self, row: ChunkRow) -> None:
        if row.n_failed == row.stop - row.start:
            return  # nothing of it is old: it runs again
        if self._unchecked is None:
            sliceable = self._source.sliceable
            self._unchecked = row.start, left_out(self._source.slice(row.start, row.stop)) if sliceable else ""
        self._n_unchecked += row.stop - row.start

    def _read_over(self, row: ChunkRow) -> None:
        while self.frontier < row.stop:
            got = len(self._take(min(_SKIP, row.stop - self.frontier)))
            self.frontier += got
            if not got:
                self._short(self.frontier, row)

    def _short(self, found: int, row: ChunkRow | Span) -> None:
        if self._source.one_shot:
            raise InputGone(
                f"the iterator gave {counted(found, 'item')}, but {row.stop:,} were committed from the one before it. "
                "Give it from the beginning, or spool it first (manifold.spool)"
            )
        had = f"the input has {counted(found, 'item')} now"
        raise ItemsChanged(f"{had}, but item {row.stop - 1:,} is committed already")

    def _end(self) -> None:
        if self._unchecked is not None:
            start, what = self._unchecked
            many = counted(self._n_unchecked, "committed item")
            self.tell(
                f"{many}, from item {start:,} on, could not be compared with the first try's: they, or others of their "
                f"chunk, have no stable form{what and f' ({what})'}"
            )
        if self._row is not None:
            self._short(self.frontier, self._row)
        if self._total is not None and self._total != self.frontier:
            ended = f"the input ended after {counted(self.frontier, 'item')}"
            raise ItemsChanged(f"{ended}; it had {self._total:,}, or said so")
        self.ended_at = self.frontier


def missing(start: int, stop: int, covered: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The parts of [start, stop) that none of the ranges in `covered` touches."""
    at = start
    for low, high in sorted(covered):
        if high <= at:
            continue
        if low >= stop:
            break
        if low > at:
            yield at, low
        at = high
    if at < stop:
        yield at, stop
