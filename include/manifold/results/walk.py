"""Through the committed chunks of a scatter in item order, as they were at one moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from manifold.errors import ResultsLost
from manifold.protocol import outcome
from manifold.protocol.codec import Segment
from manifold.protocol.records import ScatterRow
from manifold.results.blobs import Blobs

if TYPE_CHECKING:
    from manifold.ledger import Ledger, MergedRow

_PAGE = 1000  # chunks


class _Page(NamedTuple):
    """Where to look for a result: how many lie before these chunks, and where the first of them begins."""

    before: int
    begin: int


class Account:
    """The committed chunks, and the proof that none is missing.

    Args:
        as_of: the ledger's `seq` at the moment it shows.
        n_ok: how many results there were then.
        total: how many items, where all had an outcome; None where gaps are no loss.
    """

    def __init__(self, ledger: Ledger, scatter: ScatterRow, as_of: int, n_ok: int, total: int | None) -> None:
        self.n_ok = n_ok
        self._ledger = ledger
        self._scatter = scatter
        self._as_of = as_of
        self._total = total

    def rows(self, begin: int = 0) -> Iterator[MergedRow]:
        """The chunks from the one that begins at `begin` on; raises ResultsLost at a gap."""
        expected = begin
        for merged in self._ledger.merged(self._scatter.uid, after=begin - 1, as_of=self._as_of):
            if self._total is not None and merged.base.start != expected:
                raise self._gap(expected, merged.base.start)
            yield merged
            expected = merged.base.stop
        if self._total is not None and expected != self._total:
            raise self._gap(expected, self._total)

    def page(self, at: int) -> _Page:
        """Where to look for the result number `at`."""
        return self._pages[bisect_right(self._pages, at, key=lambda one: one.before) - 1]

    def prove(self) -> None:
        """Return if all that was counted is still committed; raises ResultsLost otherwise. Reads no blob."""
        _ = self._pages

    def moved(self, what: str) -> ResultsLost:
        """The error for what was committed at `as_of` and is not any more."""
        return ResultsLost(
            f"{what} in scatter {self._scatter.title}, as it was at {self._as_of}. What was lost is being made again: "
            "when that is done, take .latest()"
        )

    @cached_property
    def _pages(self) -> list[_Page]:
        """An entry for every thousand chunks, made by one pass over the ledger."""
        pages, seen = list[_Page](), 0
        for number, merged in enumerate(self.rows()):
            if number % _PAGE == 0:
                pages.append(_Page(seen, merged.base.start))
            seen += count(merged)
        if seen != self.n_ok:
            raise self.moved(f"{self.n_ok:,} results were counted, and {seen:,} are committed")
        return pages

    def _gap(self, start: int, stop: int) -> ResultsLost:
        return self.moved(f"items {start:,} to {stop - 1:,} are not committed any more")


class Walk:
    """The values of an account. For single ones, the chunk that was read last is kept: its neighbours cost nothing."""

    def __init__(self, account: Account, blobs: Blobs) -> None:
        self._account = account
        self._blobs = blobs
        self._begin = -1
        self._rows: list[MergedRow] = []
        self._first = 0
        self._values: list[Any] = []

    def pairs(self) -> Iterator[tuple[int, Any]]:
        """(position, value) of each item that succeeded."""
        self._account.prove()
        for merged in self._account.rows():
            for positions, values in self._parts(merged):
                yield from zip(positions, values, strict=True)

    def values(self, at: int) -> Iterator[Any]:
        """The values from the result number `at` on."""
        return chain.from_iterable(self._lists(at))  # nothing of ours runs between two values of one chunk

    def _lists(self, at: int) -> Iterator[list[Any]]:
        if at >= self._account.n_ok:
            return
        seen, begin = self._account.page(at)
        for merged in self._account.rows(begin):
            stop = seen + count(merged)
            if at < stop:
                for _, values in self._parts(merged):
                    yield values[at - seen :] if at > seen else values
                    seen += len(values)
            seen = stop
        if seen != self._account.n_ok:
            raise self._account.moved(f"results from {seen:,} on are not committed any more")

    def value(self, at: int) -> Any:
        """The result number `at`."""
        if not self._first <= at < self._first + len(self._values):
            self._hold(at)
        return self._values[at - self._first]

    def _hold(self, at: int) -> None:
        """Keep the values of the chunk that has the result `at`, and the page of chunks it stands on."""
        first, begin = self._account.page(at)
        if begin != self._begin:
            self._rows, self._begin = list(islice(self._account.rows(begin), _PAGE)), begin
        for merged in self._rows:
            if at < first + count(merged):
                self._values = [value for _, values in self._parts(merged) for value in values]
                self._first = first
                return
            first += count(merged)
        raise self._account.moved(f"result {at:,} is not committed any more")

    def _parts(self, merged: MergedRow) -> Iterator[tuple[range, list[Any]]]:
        """The values of one chunk in order, in runs that come from one blob. Each blob is read once."""
        blobs: dict[str, tuple[list[Any], int]] = {}  # by attempt: the values, and how many of them are told
        for run in merged.runs():
            if run.letter == outcome.OK:
                values, told = blobs.get(run.row.attempt) or (self._blobs.values(run.row), 0)
                size = run.stop - run.start
                blobs[run.row.attempt] = (values, told + size)
                yield range(run.start, run.stop), values if size == len(values) else values[told : told + size]


def segments(account: Account, blobs: Blobs) -> Iterator[Segment]:
    """The partial folds of an account from left to right. An overlay's lie between those of the chunk below it."""
    account.prove()
    for merged in account.rows():
        found = [one for row in (merged.base, *merged.overlays) for one in blobs.segments(row)]
        yield from sorted(found, key=lambda one: one.start)


def count(merged: MergedRow) -> int:
    """How many items of a chunk succeeded, re-runs included."""
    return merged.base.n_ok + sum(row.n_ok for row in merged.overlays)
