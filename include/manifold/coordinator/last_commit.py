"""The last commit of a try: what its workers had finished when it ended, for whatever reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from manifold.coordinator.dispatch import Dispatch, Sent
from manifold.coordinator.replies import ReplyHandler
from manifold.errors import Fenced, LedgerError, LedgerUnavailable
from manifold.protocol.records import Receipt, ScatterRow
from manifold.stores.patient import PatientStore

if TYPE_CHECKING:
    from manifold.ledger import Claim

log = logging.getLogger(__name__)


class LastCommit:
    """Commits the receipts that were heard, and those that have arrived; waits for no others.

    Args:
        settle: called with each receipt, what was sent for it, and whether it counts.

    Attributes:
        ledger_is_away: it was waited for as long as it may be, so nothing more waits for it.
    """

    def __init__(
        self,
        claim: Claim,
        store: PatientStore,
        dispatch: Dispatch,
        replies: ReplyHandler,
        settle: Callable[[Sent | None, Receipt, bool], None],
    ) -> None:
        self._claim = claim
        self._store = store
        self._dispatch = dispatch
        self._replies = replies
        self._settle = settle
        self.ledger_is_away = False

    def write(self, exc: BaseException) -> ScatterRow | None:
        """Return the scatter after the commit; None where nothing was committed. `exc` is what ends the try."""
        self.ledger_is_away = isinstance(exc, LedgerUnavailable)
        if self.ledger_is_away or isinstance(exc, Fenced):
            return None  # nothing would count
        row = None
        try:
            with self._store.briefly():
                self._replies.hear_last(self._dispatch.collect())
            batch, self._replies.receipts = self._replies.receipts, []
            # One receipt that the ledger refuses may be what ends the try: the others count without it.
            for some in [[one] for one in batch] if isinstance(exc, LedgerError) else [batch]:
                row = self._commit(some) or row
        except (Fenced, LedgerUnavailable) as failed:
            self.ledger_is_away = isinstance(failed, LedgerUnavailable)
            log.warning("what came last is not committed: %s", failed)
        return row

    def _commit(self, batch: list[tuple[Sent | None, Receipt]]) -> ScatterRow | None:
        if not batch:
            return None
        try:
            committed = self._claim.commit([receipt for _, receipt in batch])
        except (Fenced, LedgerUnavailable):
            raise
        except LedgerError as failed:
            log.warning("what came last is not committed, and runs again: %s", failed)
            return None
        for (sent, receipt), won in zip(batch, committed.won, strict=True):
            self._settle(sent, receipt, won)
        return committed.row
