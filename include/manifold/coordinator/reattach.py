"""Takes up what a coordinator before this one had sent and did not live to hear of (SEMANTICS section 5).

Only attempts of the base that are open in the ledger are asked for. Their receipts commit by the same rules as any:
whichever comes first for its items. So nothing here is needed for an exact account; it saves work that is done or under
way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manifold.abc import Engine, Source
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.dispatch import Dispatch
from manifold.coordinator.planner import Reader
from manifold.coordinator.receipts import BlobLost, Receipts
from manifold.errors import Fenced, InputGone, LedgerError, ScatterError, Stopped, StoreError, WireError
from manifold.protocol.records import Attempt, Receipt, ScatterRow
from manifold.text import counted

if TYPE_CHECKING:
    from manifold.ledger import AttemptRow, Claim, Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reattached:
    """How many chunks of earlier coordinators still run and are waited for, and how many had an answer waiting."""

    running: int = 0
    answered: int = 0

    def __str__(self) -> str:
        """Return a clause for people; "" where there was nothing."""
        told = [f"re-attached to {counted(self.running, 'chunk')} that still run"] if self.running else []
        told += [f"took the answers of {counted(self.answered, 'chunk')} that had waited"] if self.answered else []
        return "; ".join(told)


class Reattachment:
    """Asks an engine once for the attempts of earlier epochs.

    Args:
        same_work: input, function and constants are known to be those of the tries before. Otherwise what these had
            sent may be of other items than the plan's, or run by other code, so nothing of it is taken.
    """

    def __init__(
        self, engine: Engine, claim: Claim, dispatch: Dispatch, receipts: Receipts, source: Source, *, same_work: bool
    ) -> None:
        self._engine = engine
        self._claim = claim
        self._dispatch = dispatch
        self._receipts = receipts
        self._source = source
        self._same_work = same_work

    def take(self, now: float) -> Reattached:
        """Commit the answers that wait, and put in flight what still runs. Raises Fenced, LedgerError."""
        claim = self._claim
        attempts = claim.ledger.open_attempts(claim.uid, before=claim.epoch) if self._same_work else []
        rows = {row.id: row for row in attempts}
        futures = self._engine.attach(claim.uid, claim.epoch, {id_: row.epoch for id_, row in rows.items()})
        try:
            done = {id_: future for id_, future in futures.items() if future.done()}
            answered = self._commit(done)
            running = {id_: future for id_, future in futures.items() if id_ not in done}
            return Reattached(self._adopt([rows[id_] for id_ in running], running, now), answered)
        except BaseException:
            for future in futures.values():
                self._engine.leave(future)
            raise

    def _commit(self, done: Mapping[str, Future[Any]]) -> int:
        found = [receipt for id_, future in done.items() if (receipt := self._receipt(id_, future)) is not None]
        if not found:
            return 0
        won = self._claim.commit(found).won
        for receipt, counts in zip(found, won, strict=True):
            if not counts:
                self._receipts.discard(receipt)
        return sum(won)

    def _receipt(self, attempt_id: str, future: Future[Any]) -> Receipt | None:
        """Return the receipt in the answer, fit to be committed; None where it brings none."""
        answer = self._dispatch.read(attempt_id, future).answer
        if answer is None or answer.receipt is None or answer.receipt.fatal is not None:
            return None
        try:
            return self._receipts.complete(answer.receipt, answer.blobs)
        except (StoreError, WireError, BlobLost) as exc:
            log.warning("an answer that waited cannot be taken, its items run again: %s", exc)
            return None

    def _adopt(self, rows: list[AttemptRow], futures: Mapping[str, Future[Any]], now: float) -> int:
        reader, adopted, at = Reader(self._source), 0, 0
        for row in sorted(rows, key=lambda one: (one.start, -one.stop)):
            free = row.start >= at and not self._claim.ledger.covered(row.uid, 0, row.start, row.stop)
            items = self._items(reader, row) if free else ()
            if len(items) < row.stop - row.start:  # its place is taken, or the input ended; the plan sees to that
                self._engine.leave(futures[row.id])
                continue
            attempt = Attempt(row.id, row.uid, row.layer, row.start, row.stop, row.epoch, row.why)
            self._dispatch.adopt(attempt, Chunk(row.start, row.stop, items, why=row.why), futures[row.id], now)
            adopted, at = adopted + 1, row.stop
        return adopted

    def _items(self, reader: Reader, row: AttemptRow) -> Sequence[Any]:
        """What the attempt is of; nothing where this try has no input to send it again from, and runs failed items."""
        try:
            return reader.take(row.start, row.stop - row.start)
        except InputGone:
            return ()


def leaves_chunks(
    engine: Engine, ledger: Ledger, row: ScatterRow, trouble: BaseException | None, goes_on: Callable[[], bool]
) -> bool:
    """Whether what is in flight runs on when a try ends so: it failed, and the scatter goes on with the next one.

    Args:
        row: the scatter as this coordinator last saw it.
        trouble: what ended the try.
        goes_on: whether another try follows where this one's process was told to end.
    """
    if not engine.reattaches or row.state != "running":
        return False
    if isinstance(trouble, Stopped):
        return goes_on()
    if isinstance(trouble, Fenced):  # whoever took over waits for these chunks, unless the scatter has ended
        with suppress(LedgerError):
            return ledger.scatter(row.uid).state == "running"
    return isinstance(trouble, Exception) and not isinstance(trouble, ScatterError)
