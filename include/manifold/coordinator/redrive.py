"""Failed items again: overlay chunks, each inside one committed row, with the items from the quarantine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from manifold.abc import Source, Store
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.planner import Reader
from manifold.errors import BlobNotFound, WireError
from manifold.protocol import codec, envelope, outcome, proof
from manifold.protocol.records import ChunkRow, ScatterRow

if TYPE_CHECKING:
    from manifold.ledger import Ledger
    from manifold.ledger.merged import MergedRow


class Redrive:
    """The overlay chunks of one try.

    Args:
        epoch: the coordinator's; it is the layer of the overlays. Items that failed in it are left alone.
        chosen: which failed positions to run again; None for all.
        source: where the items are as they are today; None takes them as they were when they failed.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        keyring: envelope.Keyring,
        row: ScatterRow,
        epoch: int,
        *,
        chosen: Callable[[int], bool] | None = None,
        source: Source | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._keyring = keyring
        self._row = row
        self._epoch = epoch
        self._chosen = chosen
        self._source = source
        self._reader = Reader(source) if source is not None else None
        self.tell: Callable[[str], None] = lambda _text: None
        """Is told what cannot be run again, once per chunk."""
        self._waiting: list[codec.FailedItem] = []
        self._found = self._rows()

    def again(self, row: ScatterRow) -> Redrive:
        """Return the same for the scatter as `row` has it, of which re-runs were lost."""
        again = Redrive(
            self._ledger, self._store, self._keyring, row, self._epoch, chosen=self._chosen, source=self._source
        )
        again.tell = self.tell
        return again

    def next(self, size: int) -> Chunk | None:
        """The next overlay chunk, of at most `size` items; None when there is no more."""
        while not self._waiting:
            batch = next(self._found, None)
            if batch is None:
                return None
            self._waiting = batch
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        positions = [one.failure.pos for one in taken]
        items = [one.item or b"" for one in taken]
        return Chunk(positions[0], positions[-1] + 1, items, self._epoch, positions, raw=True, why="redrive")

    def _rows(self) -> Iterator[list[codec.FailedItem]]:
        """The failed items of each base row that has some."""
        for merged in self._ledger.merged(self._row.uid, as_of=self._row.seq):
            if merged.base.n_failed:
                items = self._failed(merged)
                if items:
                    yield items

    def _failed(self, merged: MergedRow) -> list[codec.FailedItem]:
        """The items of one base row that are failed now, and not since this epoch."""
        wanted: dict[str, set[int]] = defaultdict(set)
        rows = {row.attempt: row for row in (merged.base, *merged.overlays)}
        for run in merged.runs():
            if run.letter == outcome.FAILED and run.row.epoch < self._epoch:
                wanted[run.row.attempt] |= {pos for pos in range(run.start, run.stop) if self._is_chosen(pos)}
        base = merged.base
        found = self._as_they_are(
            base,
            [
                one
                for attempt, positions in wanted.items()
                for one in (self._sidecar(rows[attempt]) if positions else ())
                if one.failure.pos in positions
            ],
        )
        if left := sum(map(len, wanted.values())) - len(found):
            self.tell(
                f"items {base.start:,} to {base.stop - 1:,}: of those that failed, {left:,} cannot be run again, "
                "because the quarantine lacks their input"
            )
        return sorted(found, key=lambda one: one.failure.pos)

    def _as_they_are(self, base: ChunkRow, failed: list[codec.FailedItem]) -> list[codec.FailedItem]:
        """Those of them that can be sent, with the items of today where these are asked for."""
        if self._reader is not None and failed:
            items = self._reader.take(base.start, base.stop - base.start)
            today = [envelope.dumps_if_possible(items[one.failure.pos - base.start]) for one in failed]
            failed = [msgspec.structs.replace(one, item=item) for one, item in zip(failed, today, strict=True)]
        return [one for one in failed if one.item is not None]

    def as_they_were(self, base: ChunkRow) -> dict[int, Any]:
        """The items of a committed chunk that failed when it ran, by position."""
        items: dict[int, Any] = {}
        for failed in self._sidecar(base):
            if failed.item is not None:
                with suppress(*proof.BROKEN):  # one that cannot be read is not known to be the same
                    items[failed.failure.pos] = envelope.loads(failed.item)
        return items

    def _is_chosen(self, pos: int) -> bool:
        return self._chosen is None or self._chosen(pos)

    def _sidecar(self, row: ChunkRow) -> list[codec.FailedItem]:
        assert row.fail_key is not None
        try:
            blob = self._store.get(row.fail_key)
            _, payload = envelope.unseal(self._keyring, blob, "failed", uid=row.uid, digest=row.fail_digest)
            return codec.decode_failed(payload)
        except (BlobNotFound, WireError) as exc:
            self.tell(f"the quarantine of items {row.start:,} to {row.stop - 1:,} is lost: {exc}")
            return []


def chooser(ledger: Ledger, uid: str, *requests: Mapping[str, Any]) -> Callable[[int], bool] | None:
    """Which failed positions the control requests mean (the values of "redrive" controls); None for all of them.

    A request `{"fingerprints": [...]}` means the items that are failed by these kinds of errors, `{"positions": [...]}`
    these items, `{}` all.
    """
    if not requests or not all(request.keys() & {"fingerprints", "positions"} for request in requests):
        return None
    kinds = sorted({one for request in requests for one in request.get("fingerprints") or ()})
    named = {pos for request in requests for pos in request.get("positions") or ()}

    # Asked when the first chunk is made: what is withdrawn until then is failed, too.
    @cache
    def positions() -> set[int]:
        return named | {pos for kind in kinds for pos in _by(ledger, uid, kind)}

    return lambda pos: pos in positions()


def _by(ledger: Ledger, uid: str, fingerprint: str) -> Iterator[int]:
    after = -1
    while page := ledger.failures(uid, after=after, fingerprint=fingerprint):
        yield from (one.pos for one in page)
        after = page[-1].pos
