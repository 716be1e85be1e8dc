"""What comes out of a scatter: a lazy view of its results, in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload
from weakref import finalize

from manifold import config
from manifold.abc import Source, Store
from manifold.errors import ConfigError, EmptyReduce, ScatterError
from manifold.protocol.records import LogLine, ScatterRow
from manifold.redaction import masked
from manifold.results.blobs import Blobs
from manifold.results.failures import ItemFailure, failures
from manifold.results.slices import ResultsSlice
from manifold.results.walk import Account, Walk, segments
from manifold.text import counted

if TYPE_CHECKING:
    from manifold.ledger import Ledger


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
        unfinished: the handle was written when the scatter began, and none has taken its place: the task was marked as
            success in the middle, say. Reading from it raises ScatterError; `latest()` shows what is committed.
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
        unfinished: bool = False,
    ) -> None:
        self.uid = uid
        self.as_of = as_of
        self.total = total
        self.n_ok = n_ok
        self.n_failed = n_failed
        self.n_skipped = n_skipped
        self.ledger = ledger
        self.unfinished = unfinished

    @classmethod
    def begun(cls, uid: str, ledger: Ledger) -> Results:
        """The handle of a scatter that has only begun, for whoever reads it if none follows."""
        usual = masked(config.ledger_url())
        return cls(uid, 0, None, 0, ledger=None if ledger.url == usual else masked(ledger.url), unfinished=True)

    @classmethod
    def of(cls, row: ScatterRow, ledger: Ledger, store: Store | None = None) -> Self:
        """The results of this scatter as it stands in `row`, read through an open ledger (and store)."""
        # Whoever gets the handle has the deployment's ledger configured, and no handle carries a password.
        usual = masked(config.ledger_url())
        url = None if "***" in ledger.url or ledger.url == usual else ledger.url
        results = cls(row.uid, row.seq, row.total, row.n_ok, row.n_failed, row.n_skipped, url)
        results._ledger = ledger
        results._scatter = row
        if store is not None:
            results._store = store
        return results

    def __repr__(self) -> str:
        if self.unfinished:
            return f"<Results of {self.uid}, which had not ended>"
        of = "an unknown number of" if self.total is None else f"{self.total:,}"
        ends = f"{self.n_ok:,} succeeded, {self.n_failed:,} failed, {self.n_skipped:,} skipped"
        return f"<Results of {self.uid}: {ends}, of {of} items>"

    # -- the view ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        self._check_ended()
        return self.n_ok

    def __iter__(self) -> Iterator[Any]:
        return self._walk.values(0)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ResultsSlice: ...
    def __getitem__(self, index: int | slice) -> Any:
        self._check_ended()
        if isinstance(index, slice):
            return ResultsSlice(self, range(self.n_ok)[index])
        try:
            at = range(self.n_ok)[index]  # counts negative ones from the end
        except IndexError:
            raise IndexError(f"there is no result {index:,}: {counted(self.n_ok, 'item')} succeeded") from None
        return self._walk.value(at)

    def pairs(self) -> Iterator[tuple[int, Any]]:
        """(position, value) of each item that succeeded; a position counts the whole input."""
        return self._walk.pairs()

    def failures(self) -> Iterator[ItemFailure]:
        """The items that are failed now, in order, with what is known of each. Their inputs are read when asked for."""
        return failures(self._ledger, self._blobs, self.uid)

    def logs(self) -> Iterator[LogLine]:
        """What the items printed and logged, in item order, where `keep_logs=True` kept it; else nothing.

        Lines of items that ran again, and of copies that did not count, are not among them.
        """
        for merged in self._ledger.merged(self.uid, as_of=self.as_of):
            for row in (merged.base, *merged.overlays):
                yield from self._blobs.log(row)

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
        return Results.of(now, self._ledger, self.__dict__.get("_store"))

    # -- folded ------------------------------------------------------------------------------------------------------

    def value(self, reduce: Callable[[Any, Any], Any] | None = None, *, initial: Any = None) -> Any:
        """What `reduce=` folded all results to: `initial` first, then the segments from left to right.

        Args:
            reduce, initial: instead of those that the scatter was run with.

        Raises EmptyReduce where no item succeeded and there is no `initial`.
        """
        self._check_ended()
        if self._scatter.reduce_digest is None:
            raise ConfigError("this scatter had no reduce=; iterate over its results, or use functools.reduce on them")
        if reduce is None:
            job = self._blobs.job()
            reduce, initial = job.reduce, job.initial if initial is None else initial
        assert reduce is not None
        folded, filled = initial, initial is not None
        for segment in segments(self._account(), self._blobs):
            folded, filled = reduce(folded, segment.partial) if filled else segment.partial, True
        if not filled:
            raise EmptyReduce(
                f"no item of scatter {self._scatter.title} succeeded, and it has no initial= to begin with"
            )
        return folded

    # -- out of here -------------------------------------------------------------------------------------------------

    def to_jsonl(self, path: str | PathLike[str]) -> int:
        """Write one JSON value a line, packed if `path` ends in .gz; the number of lines.

        Dates, Decimals, UUIDs, bytes (as base64) and dataclasses are written as text and objects, NaN as `NaN`, which
        Python's json reads. The file appears whole or not at all; `path` is whatever fsspec writes to.
        Raises ConfigError for a value that JSON does not have.
        """
        from manifold.writers.jsonl import to_jsonl

        return to_jsonl(self, path)

    def to_parquet(self, path: str | PathLike[str]) -> int:
        """Write a Parquet file; the number of rows. Dicts give their keys as columns, anything else a column "value".

        The results are read twice: once to find all columns and their types. Otherwise as `to_jsonl`.
        """
        from manifold.writers.parquet import to_parquet

        return to_parquet(self, path)

    def as_source(self) -> Source:
        """These results as the input of another scatter."""
        from manifold.sources.results import ResultsSource

        self._check_ended()
        return ResultsSource(self)

    def serialize(self) -> dict[str, Any]:
        """The handle: what XCom keeps. JSON-like, without secrets."""
        names = ("uid", "as_of", "total", "n_ok", "n_failed", "n_skipped", "ledger")
        return {name: getattr(self, name) for name in names} | ({"unfinished": True} if self.unfinished else {})

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

        ledger = open_ledger(self.ledger)
        finalize(self, ledger.close)
        return ledger

    @cached_property
    def _store(self) -> Store:
        from manifold.stores import store_behind

        store = store_behind(self._scatter.store_url)
        finalize(self, store.close)
        return store

    @cached_property
    def _scatter(self) -> ScatterRow:
        return self._ledger.scatter(self.uid)

    @cached_property
    def _blobs(self) -> Blobs:
        return Blobs(self._ledger, self._store, config.keyring(), self._scatter)

    @cached_property
    def _walk(self) -> Walk:
        """The committed values. Raises ConfigError where a fold has taken their place."""
        self._check_ended()
        if self._scatter.reduce_digest is not None:
            raise ConfigError("this scatter had reduce=, so it keeps no single results: take .value()")
        return Walk(self._account(), self._blobs)

    def _check_ended(self) -> None:
        if self.unfinished:
            row = self._scatter
            of = "" if row.of is None else f" of {row.of:,}"
            raise ScatterError(
                f"the task of scatter {row.title} ended before the scatter did: it was marked as success or failed, or "
                f"was killed, when {row.done:,}{of} items had an outcome. Clear the task, and it continues; or take "
                ".latest(), which shows what is committed"
            )

    def _account(self) -> Account:
        closed = self.total == self.n_ok + self.n_failed + self.n_skipped
        return Account(self._ledger, self._scatter, self.as_of, self.n_ok, self.total if closed else None)
