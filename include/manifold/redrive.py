"""Failed items again: overlay chunks, each inside one committed row, with the items from the quarantine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from manifold import codec, outcome, wire
from manifold.abc import Store
from manifold.chunks import Chunk
from manifold.errors import BlobNotFound, WireError
from manifold.records import ChunkRow, ScatterRow

if TYPE_CHECKING:
    from manifold.ledger import Ledger
    from manifold.ledger.merged import MergedRow


class Redrive:
    """The overlay chunks of one try.

    Args:
        epoch: the coordinator's; it is the layer of the overlays. Items that failed in it are left alone.
        chosen: which failed positions to run again; None for all.
        tell: is told what cannot be run again, once per row.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        keyring: wire.Keyring,
        row: ScatterRow,
        epoch: int,
        *,
        chosen: Callable[[int], bool] | None = None,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._keyring = keyring
        self._row = row
        self._epoch = epoch
        self._chosen = chosen
        self._tell = tell
        self._waiting: list[codec.FailedItem] = []
        self._found = self._rows()

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
        found = [
            one
            for attempt, positions in wanted.items()
            for one in (self._sidecar(rows[attempt]) if positions else ())
            if one.failure.pos in positions and one.item is not None
        ]
        if left := sum(map(len, wanted.values())) - len(found):
            base = merged.base
            self._tell(f"{left:,} failed items of {base.start:,} to {base.stop - 1:,} cannot be run again")
        return sorted(found, key=lambda one: one.failure.pos)

    def _is_chosen(self, pos: int) -> bool:
        return self._chosen is None or self._chosen(pos)

    def _sidecar(self, row: ChunkRow) -> list[codec.FailedItem]:
        assert row.fail_key is not None
        try:
            blob = self._store.get(row.fail_key)
            _, payload = wire.unseal(self._keyring, blob, "failed", uid=row.uid, digest=row.fail_digest)
            return codec.decode_failed(payload)
        except (BlobNotFound, WireError) as exc:
            self._tell(f"the quarantine of items {row.start:,} to {row.stop - 1:,} is lost: {exc}")
            return []


def chooser(ledger: Ledger, uid: str, *wishes: Mapping[str, Any]) -> Callable[[int], bool] | None:
    """Which failed positions the wishes of people mean (the values of "redrive" controls); None for all of them.

    A wish `{"fingerprints": [...]}` means the items that are failed by these kinds of errors, `{"positions": [...]}`
    these items, `{}` all.
    """
    if not wishes or not all(wish.keys() & {"fingerprints", "positions"} for wish in wishes):
        return None
    kinds = sorted({one for wish in wishes for one in wish.get("fingerprints") or ()})
    named = {pos for wish in wishes for pos in wish.get("positions") or ()}

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
