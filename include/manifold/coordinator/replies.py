"""What comes back from the engine, and what follows: a receipt to commit, chunks to send again, items to give up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError

from manifold import descriptors
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.counters import Counters
from manifold.coordinator.dispatch import Outcome, Sent
from manifold.coordinator.exclusion import Exclusion
from manifold.coordinator.losses import Losses
from manifold.coordinator.obstacle import Obstacle
from manifold.coordinator.pending import PendingChunks
from manifold.coordinator.receipts import BlobLost
from manifold.coordinator.reporter import Reporter
from manifold.coordinator.set_up import UNNAMED, SetUpFailures
from manifold.coordinator.wiring import Context
from manifold.errors import (
    BlobNotFound,
    ItemTimeout,
    LedgerError,
    ManifoldError,
    PoisonItem,
    ScatterError,
    StoreError,
    StoreNotShared,
    VersionMismatch,
    WireError,
    WorkerLost,
)
from manifold.patience import PATIENCE
from manifold.protocol.records import Receipt
from manifold.protocol.task import Answer
from manifold.worker import error_report

log = logging.getLogger(__name__)

_FEWEST_TRIES = 3  # of one chunk against a store that does not work


class ReplyHandler:
    """Hears outcomes, one by one.

    Args:
        send_with_job: sends again what a worker could not run, with all that it lacked.

    Attributes:
        receipts: to be committed, each with what was sent for it.
        met: an epoch that workers have met and the ledger has lost; they run nothing of an older one.
        condemned: single items that no worker survives, each with its error.
    """

    def __init__(
        self,
        context: Context,
        pending: PendingChunks,
        report: Reporter,
        counters: Counters,
        send_with_job: Callable[[Sent], None],
    ) -> None:
        self._context = context
        self._claim = context.claim
        self._clock = context.clock
        self._pending = pending
        self._report = report
        self._counters = counters
        self._send_with_job = send_with_job
        self._losses = Losses()
        self._set_up = SetUpFailures()
        self._exclusion = Exclusion(context.engine, report, context.clock.monotonic())
        self.obstacle = Obstacle(context.claim)
        self.receipts: list[tuple[Sent | None, Receipt]] = []
        self.condemned: list[tuple[Chunk, ManifoldError]] = []
        self.met = 0
        self._warned: set[str] = set()

    def hear(self, outcome: Outcome) -> None:
        """Raises what ends the try: a refusal, a store that does not work, a fold that fails, another coordinator."""
        if outcome.error is not None:
            if outcome.sent is not None:
                self._error(outcome.sent, outcome.error)
            return
        answer = outcome.answer
        assert answer is not None
        if answer.warning:
            self._warn(answer)
        if answer.refused is not None:
            self._refused(outcome.sent, answer, answer.refused)
        elif answer.receipt is not None:
            receipt = answer.receipt
            if self._is_other_work(outcome.sent, receipt):
                return
            if receipt.fatal is not None:
                raise ScatterError(f"the reduce function failed, so no item is to blame:\n{receipt.fatal}")
            self._set_up.ran()
            self.obstacle.over()
            self._exclusion.ran(receipt)
            self._exclusion.look(self._clock.monotonic())
            self._heard(outcome.sent, receipt, answer.blobs)
        elif outcome.sent is not None:
            outcome.sent.chunk.each |= answer.need == "each"
            outcome.sent.chunk.prove |= answer.need == "proof"
            self._send_with_job(outcome.sent)

    def _warn(self, answer: Answer) -> None:
        """Tell once of each process that it has no file descriptor left."""
        worker = answer.warning.partition(": ")[0]
        if worker not in self._warned:
            self._warned.add(worker)
            self._report.notice("warning", answer.warning)

    def hear_last(self, outcomes: Iterable[Outcome]) -> None:
        """Take the receipts among the outcomes, of a try that is ending: nothing else that came is acted on any more.

        Stops at the first one that the store does not take. Raises Fenced.
        """
        for outcome in outcomes:
            receipt = outcome.answer.receipt if outcome.answer is not None else None
            if receipt is None or receipt.fatal is not None or self._is_other_work(outcome.sent, receipt):
                continue
            assert outcome.answer is not None
            try:
                self.receipts.append((outcome.sent, self._completed(receipt, outcome.answer.blobs)))
            except (StoreError, WireError, BlobLost) as exc:
                log.warning("items %d to %d will run again: %s", receipt.start, receipt.stop - 1, exc)
                return

    def _is_other_work(self, sent: Sent | None, receipt: Receipt) -> bool:
        """A stray receipt of an earlier try may be of other items or code than the plan's, and nobody compares it."""
        return sent is None and receipt.epoch < self._claim.epoch and not self._context.same_work

    def _heard(self, sent: Sent | None, receipt: Receipt, blobs: Mapping[str, bytes]) -> None:
        try:
            self.receipts.append((sent, self._completed(receipt, blobs)))
        except BlobLost as exc:
            self._claim.renew()  # raises Fenced, if that is why: what a fenced coordinator hears of may be collected
            self._context.receipts.discard(receipt)
            if sent is not None:
                self._again_for_store(sent, exc)

    def _again_for_store(self, sent: Sent, error: BaseException) -> None:
        """Send the chunk again, later, since the store has not kept what it should; raises once that lasts too long."""
        chunk, now = sent.chunk, self._clock.monotonic()
        chunk.failing_since = now if chunk.failing_since is None else chunk.failing_since
        where = f"items {chunk.start:,} to {chunk.stop - 1:,}"
        if chunk.sent >= _FEWEST_TRIES and now - chunk.failing_since > PATIENCE:
            raise StoreError(f"{where}: the store has not kept their results for {PATIENCE:.0f} s: {error}") from error
        chunk.not_before = now + min(30.0, 0.25 * 2.0**chunk.sent)
        self.obstacle.met(f"{where} are sent again: {error}")
        self._report.notice("warning", f"{where} will be sent again: {error}")
        self._pending.put([chunk])

    def _completed(self, receipt: Receipt, blobs: Mapping[str, bytes]) -> Receipt:
        try:
            return self._context.receipts.complete(receipt, blobs)
        except (StoreNotShared, BlobNotFound):
            self._claim.renew()  # raises Fenced, if that is why: what a fenced coordinator hears of may be collected
            raise

    def _error(self, sent: Sent, error: BaseException) -> None:
        chunk = sent.chunk
        if isinstance(error, WorkerLost):
            self._lost(sent, error)
        elif isinstance(error, CancelledError):
            self._pending.again(chunk, chunk.start, chunk.stop)
        elif descriptors.lacking(error):  # the process that ran it could open nothing, so no store is to blame
            text = f"{type(error).__qualname__}: {error_report.traceback_text(error)}"
            self._not_set_up(sent, UNNAMED, "set-up", text)
        elif isinstance(error, (StoreError, OSError)):
            self._again_for_store(sent, error)
        elif isinstance(error, VersionMismatch):
            self._not_set_up(sent, str(error), "versions", str(error))
        elif isinstance(error, ManifoldError):
            raise error
        else:
            text = f"{type(error).__qualname__}: {error_report.traceback_text(error)}"
            self._not_set_up(sent, UNNAMED, "set-up", text)

    def _refused(self, sent: Sent | None, answer: Answer, text: str) -> None:
        if answer.refusal == "stale":
            self._claim.renew()  # raises Fenced, unless it is an echo from before this coordinator
            if answer.epoch > self._claim.epoch:
                self.met = answer.epoch
                raise LedgerError(
                    f"worker processes have met epoch {answer.epoch} of this scatter, and the ledger has epoch "
                    f"{self._claim.epoch}: its database was restored or failed over to an older copy. What is "
                    "committed stays; the next try continues"
                )
            if sent is not None:
                self._pending.again(sent.chunk, sent.attempt.start, sent.attempt.stop)
        elif sent is not None:
            self._not_set_up(sent, answer.worker or text, answer.refusal or "set-up", text)

    def _not_set_up(self, sent: Sent, worker: str, kind: str, text: str) -> None:
        """Send the chunk again later, to another process perhaps; raises where several processes failed alike."""
        chunk = sent.chunk
        self._exclusion.refused(worker)
        processes = sum(one.alive for one in self._context.engine.workers())
        pause = self._set_up.failed(chunk, worker, kind, text, processes=processes, now=self._clock.monotonic())
        where = f"{worker}: {text.strip().splitlines()[-1]}"
        self.obstacle.met(f"the function could not be set up on {where}")
        self._report.notice(
            "warning",
            f"items {chunk.start:,} to {chunk.stop - 1:,} will be sent again in {pause:g} s, since the function could "
            f"not be set up on {where}",
        )
        self._pending.put([chunk])

    def _lost(self, sent: Sent, lost: WorkerLost) -> None:
        verdict = self._losses.judge(sent.chunk, lost, self._clock.monotonic(), self._context.engine.workers())
        if verdict.strike:
            self._claim.died(sent.attempt.id, lost.worker)
        kind: type[ManifoldError] = ItemTimeout if lost.overdue else PoisonItem
        self.condemned += [(chunk, kind(verdict.reason)) for chunk in verdict.condemned]
        self._pending.put(verdict.again)
        self._counters.add("lost")
        self._report.lost(sent.attempt, lost.worker, verdict.reason)
