"""What comes out of a scatter: a lazy view of its results, in the order of the items."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, overload

from manifold import outcome, settings
from manifold.abc import Source, Store
from manifold.blobs import Blobs
from manifold.errors import ConfigError, EmptyReduce, ResultsLost
from manifold.failures import ItemFailure, failures
from manifold.records import ScatterRow

if TYPE_CHECKING:
    from manifold.ledger import Ledger, MergedRow

_PAGE = 1000  # chunks of one page of the index


class _Page(NamedTuple):
    """Where to look for a result: how many lie before these chunks, and where the first of them begins."""

    before: int
    begin: int


class Results(Sequence[Any]):
    """The results of the items that succeeded, in item order. Light: bytes are read when they are wanted.

    * `len(results)`, `for value in results`, `results[3]`, `results[-1]`: positions count what succeeded.
      A slice is a view, as lazy as the whole. `results.pairs()` gives each value with its item's position.
    * One chunk's values are in memory at a time. Each blob's signature, digest and count is checked; one that cannot
      be read raises ResultsLost, so that there is never a shorter list.
    * It shows the scatter as it was at one moment (`as_of`): items that are run again later change nothing, until
      `results.latest()` is asked for. Only `results.failures()` shows the present.
    * A scatter with `reduce=` has one value: `results.value()`.
    * It travels (in XCom, by pickle) as a few numbers; ledger, store and secret are those of the process that reads.

    Args:
        uid: the scatter's.
        as_of: the ledger's `seq` at the moment it shows.
        total: how many items there are; None if that is not known yet.
        n_ok, n_failed, n_skipped: how many of them came to which end.
        ledger: URL of the ledger; None is the deployment's (`MANIFOLD_LEDGER`).
    """

    __version__: ClassVar[int] = 1

    def __init__(
        self,
        uid: str,
        as_of: int,
        total: int | None,
        n_ok: int,
        n_failed: int = 0,
        n_skipped: int = 0,
        ledger: str | None = None,
    ) -> None:
        self.uid = uid
        self.as_of = as_of
        self.total = total
        self.n_ok = n_ok
        self.n_failed = n_failed
        self.n_skipped = n_skipped
        self.ledger = ledger
        self._held: tuple[int, list[Any]] = (0, [])

    @classmethod
    def of(cls, row: ScatterRow, ledger: Ledger, store: Store | None = None) -> Self:
        """The results of this scatter as it stands in `row`, read through an open ledger (and store)."""
        # A URL with a password stays here: whoever gets the handle has a ledger of his own configuration.
        url = None if "***" in ledger.url else ledger.url
        results = cls(row.uid, row.seq, row.total, row.n_ok, row.n_failed, row.n_skipped, url)
        results._ledger = ledger
        results._scatter = row
        if store is not None:
            results._store = store
        return results

    def __repr__(self) -> str:
        of = "an unknown number of" if self.total is None else f"{self.total:,}"
        ends = f"{self.n_ok:,} succeeded, {self.n_failed:,} failed, {self.n_skipped:,} skipped"
        return f"<Results of {self.uid}: {ends}, of {of} items>"

    # -- the view ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.n_ok

    def __iter__(self) -> Iterator[Any]:
        return self._from(0)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ResultsSlice: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ResultsSlice(self, range(self.n_ok)[index])
        at = range(self.n_ok)[index]  # raises IndexError, and counts negative ones from the end
        first, values = self._chunk(at)
        return values[at - first]

    def pairs(self) -> Iterator[tuple[int, Any]]:
        """(position, value) of each item that succeeded; a position counts the whole input."""
        self._refuse_folded()
        for merged in self._rows() if self._pages else ():
            for positions, values in self._parts(merged):
                yield from zip(positions, values, strict=True)

    def failures(self) -> Iterator[ItemFailure]:
        """The items that are failed now, in order, with what is known of each. Their inputs are read when asked for."""
        return failures(self._ledger, self._blobs, self.uid)

    def summary(self) -> dict[str, Any]:
        """Counts at the moment it shows, and the kinds of errors there are now: JSON-like."""
        row = self._ledger.scatter(self.uid)
        done = self.n_ok + self.n_failed + self.n_skipped
        return {
            "scatter": self.uid,
            "name": row.name,
            "state": row.state,
            "total": self.total,
            "succeeded": self.n_ok,
            "failed": self.n_failed,
            "skipped": self.n_skipped,
            "without_outcome": None if self.total is None else self.total - done,
            "errors": [
                {"type": kind.type, "message": kind.message, "count": kind.count}
                for kind in self._ledger.kinds(self.uid)
            ],
        }

    def latest(self) -> Results:
        """The same scatter as it is now."""
        now = self._ledger.scatter(self.uid)
        return Results.of(now, self._ledger, self._store)

    # -- folded ------------------------------------------------------------------------------------------------------

    def value(self, reduce: Callable[[Any, Any], Any] | None = None, *, initial: Any = None) -> Any:
        """What `reduce=` folded all results to: `initial` first, then the segments from left to right.

        Args:
            reduce, initial: instead of those that the scatter was run with.

        Raises EmptyReduce where no item succeeded and there is no `initial`.
        """
        if self._scatter.reduce_digest is None:
            raise ConfigError("this scatter had no reduce=; iterate over its results, or use functools.reduce on them")
        if reduce is None:
            job = self._blobs.job()
            reduce, initial = job.reduce, job.initial if initial is None else initial
        assert reduce is not None
        folded, filled = initial, initial is not None
        for merged in self._rows() if self._pages else ():
            for segment in sorted(
                (one for row in (merged.base, *merged.overlays) for one in self._blobs.segments(row)),
                key=lambda one: one.start,
            ):
                folded, filled = reduce(folded, segment.partial) if filled else segment.partial, True
        if not filled:
            raise EmptyReduce(
                f"no item of scatter {self._scatter.name} succeeded, and it has no initial= to begin with"
            )
        return folded

    # -- out of here -------------------------------------------------------------------------------------------------

    def to_jsonl(self, path: str | PathLike[str]) -> int:
        """Write one JSON value a line, packed if `path` ends in .gz; the number of lines.

        Dates, Decimals, UUIDs and dataclasses are written as text and objects. The file appears whole or not at all;
        `path` is whatever fsspec writes to. Raises ConfigError for a value that JSON does not have.
        """
        from manifold.export import to_jsonl

        return to_jsonl(self, path)

    def to_parquet(self, path: str | PathLike[str]) -> int:
        """Write a Parquet file; the number of rows. Dicts give their keys as columns, anything else a column "value".

        The results are read twice: once to find all columns and their types. Otherwise as `to_jsonl`.
        """
        from manifold.export import to_parquet

        return to_parquet(self, path)

    def as_source(self) -> Source:
        """These results as the input of another scatter."""
        from manifold.sources.results import ResultsSource

        return ResultsSource(self)

    def serialize(self) -> dict[str, Any]:
        """The handle: what XCom keeps. JSON-like, without secrets."""
        names = ("uid", "as_of", "total", "n_ok", "n_failed", "n_skipped", "ledger")
        return {name: getattr(self, name) for name in names}

    @staticmethod
    def deserialize(data: dict[str, Any], version: int) -> Results:
        """The results of a handle; raises ConfigError for one of a later version."""
        if version > Results.__version__:
            raise ConfigError(f"this handle is of version {version}; this Manifold reads up to {Results.__version__}")
        return Results(**data)

    def __reduce__(self) -> tuple[Any, ...]:
        return Results.deserialize, (self.serialize(), self.__version__)

    # -- opened when first needed ------------------------------------------------------------------------------------

    @cached_property
    def _ledger(self) -> Ledger:
        from manifold.ledger import open_ledger

        return open_ledger(self.ledger)

    @cached_property
    def _store(self) -> Store:
        from manifold.stores import open_store

        return open_store(self._scatter.store_url or None)

    @cached_property
    def _scatter(self) -> ScatterRow:
        return self._ledger.scatter(self.uid)

    @cached_property
    def _blobs(self) -> Blobs:
        return Blobs(self._ledger, self._store, settings.keyring(), self._scatter)

    @cached_property
    def _pages(self) -> list[_Page]:
        """An entry for every thousand chunks; made by one pass over the ledger that proves nothing is missing."""
        pages, seen = list[_Page](), 0
        for number, merged in enumerate(self._rows()):
            if number % _PAGE == 0:
                pages.append(_Page(seen, merged.base.start))
            seen += _n_ok(merged)
        if seen != self.n_ok:
            raise ResultsLost(self._moved(f"{self.n_ok:,} results were counted, and {seen:,} are committed"))
        return pages

    # -- reading -----------------------------------------------------------------------------------------------------

    def _rows(self, begin: int = 0) -> Iterator[MergedRow]:
        """The chunks from the one that begins at `begin` on. A gap in a closed account is ResultsLost."""
        closed = self.total == self.n_ok + self.n_failed + self.n_skipped
        expected = begin
        for merged in self._ledger.merged(self.uid, after=begin - 1, as_of=self.as_of):
            if closed and merged.base.start != expected:
                raise ResultsLost(
                    self._moved(f"items {expected:,} to {merged.base.start - 1:,} are not committed any more")
                )
            yield merged
            expected = merged.base.stop
        if closed and expected != self.total:
            raise ResultsLost(
                self._moved(f"items {expected:,} to {(self.total or 0) - 1:,} are not committed any more")
            )

    def _moved(self, what: str) -> str:
        return (
            f"{what} in scatter {self._scatter.name}, as it was at {self.as_of}. What was lost is being made again: "
            "when that is done, take .latest()"
        )

    def _parts(self, merged: MergedRow) -> Iterator[tuple[range, list[Any]]]:
        """The values of one chunk in order, in runs that come from one blob. Each blob is read once."""
        blobs: dict[str, Iterator[Any]] = {}
        for run in merged.runs():
            if run.letter == outcome.OK:
                values = blobs.get(run.row.attempt)
                if values is None:
                    values = blobs[run.row.attempt] = iter(self._blobs.values(run.row))
                yield range(run.start, run.stop), list(islice(values, run.stop - run.start))

    def _chunk(self, at: int) -> tuple[int, list[Any]]:
        """The values of the chunk that holds the result `at`, and how many results lie before them."""
        first, values = self._held
        if first <= at < first + len(values):
            return self._held
        self._refuse_folded()
        page = self._pages[bisect_right(self._pages, at, key=lambda one: one.before) - 1]
        first = page.before
        for merged in self._rows(page.begin):
            if at < first + _n_ok(merged):
                self._held = first, [value for _, values in self._parts(merged) for value in values]
                return self._held
            first += _n_ok(merged)
        raise ResultsLost(self._moved(f"result {at:,} is not committed any more"))

    def _from(self, at: int) -> Iterator[Any]:
        self._refuse_folded()
        if at >= self.n_ok:
            return
        page = self._pages[bisect_right(self._pages, at, key=lambda one: one.before) - 1]
        seen = page.before
        for merged in self._rows(page.begin):
            if at < seen + _n_ok(merged):
                for _, values in self._parts(merged):
                    yield from values if seen >= at else values[at - seen :]
                    seen += len(values)
            else:
                seen += _n_ok(merged)

    def _refuse_folded(self) -> None:
        if self._scatter.reduce_digest is not None:
            raise ConfigError("this scatter had reduce=, so it keeps no single results: take .value()")


class ResultsSlice(Sequence[Any]):
    """A part of some results, as lazy as they are."""

    def __init__(self, results: Results, indexes: range) -> None:
        self._results = results
        self._indexes = indexes

    def __repr__(self) -> str:
        return f"<{len(self):,} of {self._results!r}>"

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ResultsSlice: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ResultsSlice(self._results, self._indexes[index])
        return self._results[self._indexes[index]]

    def __iter__(self) -> Iterator[Any]:
        if self._indexes.step != 1:
            return (self._results[at] for at in self._indexes)
        return islice(self._results._from(self._indexes.start), len(self._indexes))


def _n_ok(merged: MergedRow) -> int:
    return merged.base.n_ok + sum(row.n_ok for row in merged.overlays)
