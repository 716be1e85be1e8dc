"""The items that are failed now, with what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from manifold.errors import ResultsLost
from manifold.protocol import codec, envelope, outcome, proof
from manifold.protocol.records import ChunkRow
from manifold.results.blobs import Blobs

if TYPE_CHECKING:
    from manifold.ledger import FailureRow, Ledger


@dataclass(frozen=True)
class ItemFailure:
    """One failed item.

    Attributes:
        position: of the item in the whole input.
        key: its name, by `key=`.
        type, message: of the error, the message cut at 300 characters.
        fingerprint: the same for errors of one type at one place.
        attempts: how often it was executed.
        worker: the one that tried it last.
        item_repr: the item as text, cut.
    """

    position: int
    key: str | None
    type: str
    message: str
    fingerprint: str
    attempts: int
    worker: str
    item_repr: str | None
    _quarantined: Callable[[], codec.FailedItem] = field(repr=False, compare=False)

    @property
    def pos(self) -> int:
        """The same as `position`, as the ledger names it."""
        return self.position

    @property
    def traceback(self) -> str:
        """The error's traceback, trimmed to the function's own frames. Read from the store."""
        return self._quarantined().traceback

    @property
    def item(self) -> Any:
        """The item itself. Read from the store; raises ResultsLost where it could not be kept or is gone."""
        kept = self._quarantined().item
        if kept is None:
            raise ResultsLost(f"item {self.position:,} could not be pickled, so it was not kept: {self.item_repr}")
        try:
            return envelope.loads(kept)
        except proof.BROKEN as exc:
            raise ResultsLost(
                f"item {self.position:,} is kept, but cannot be unpickled here ({type(exc).__name__}: {exc}): "
                f"{self.item_repr}. A module that it needs may be missing"
            ) from exc


def failures(ledger: Ledger, blobs: Blobs, uid: str) -> Iterator[ItemFailure]:
    """The failed items of a scatter by position; each chunk's quarantine is read once, when first asked for."""
    spans = _failed_spans(ledger, uid)
    row, stop, kept = None, -1, _Quarantine(blobs, None)
    for failed in _rows(ledger, uid):
        while failed.pos >= stop and (span := next(spans, None)) is not None:
            if span[1] is not row:
                kept = _Quarantine(blobs, span[1])
            stop, row = span
        yield ItemFailure(
            position=failed.pos,
            key=failed.key,
            type=failed.type,
            message=failed.message,
            fingerprint=failed.fingerprint,
            attempts=failed.attempts,
            worker=failed.worker,
            item_repr=failed.item_repr,
            _quarantined=_reader(kept, failed.pos),
        )


class _Quarantine:
    """The sidecar of one chunk row, read when first asked for."""

    def __init__(self, blobs: Blobs, row: ChunkRow | None) -> None:
        self._blobs = blobs
        self._row = row
        self._items: dict[int, codec.FailedItem] | None = None

    def item(self, pos: int) -> codec.FailedItem:
        if self._items is None:
            found = self._blobs.failed(self._row) if self._row is not None else []
            self._items = {one.failure.pos: one for one in found}
        if pos not in self._items:
            raise ResultsLost(f"item {pos:,} is being run again; ask for the failures anew")
        return self._items[pos]


def _reader(kept: _Quarantine, pos: int) -> Callable[[], codec.FailedItem]:
    return lambda: kept.item(pos)


def _rows(ledger: Ledger, uid: str) -> Iterator[FailureRow]:
    after = -1
    while page := ledger.failures(uid, after=after):
        yield from page
        after = page[-1].pos


def _failed_spans(ledger: Ledger, uid: str) -> Iterator[tuple[int, ChunkRow]]:
    """Where each run of failed items ends, and the row whose sidecar has them."""
    for merged in ledger.merged(uid):
        if any(row.n_failed for row in (merged.base, *merged.overlays)):
            for run in merged.runs():
                if run.letter == outcome.FAILED:
                    yield run.stop, run.row
