"""The loop: plan → dispatch → commit → report. The only code that knows all the contracts.

Each round does the same few things in the same order: hear what arrived, write it to the ledger together with the next
attempts (one transaction), send those, wait. Whatever dies where, the ledger says what counts, and everything else
here is memory that the next coordinator does without.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import partial
from typing import Literal
from weakref import proxy

from manifold.coordinator.budget import Budget
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.controls import Controls
from manifold.coordinator.counters import Counters
from manifold.coordinator.dispatch import Sent
from manifold.coordinator.endings import ending_of, incomplete, input_gone
from manifold.coordinator.flow_control import FlowControl
from manifold.coordinator.idle import IdleWatch
from manifold.coordinator.last_commit import LastCommit
from manifold.coordinator.pending import PendingChunks
from manifold.coordinator.reattach import leaves_chunks
from manifold.coordinator.replies import ReplyHandler
from manifold.coordinator.reporter import Reporter
from manifold.coordinator.wiring import Context
from manifold.errors import (
    Cancelled,
    Drained,
    Fenced,
    Incomplete,
    ItemsChanged,
    LedgerUnavailable,
    ScatterError,
    Stopped,
    TooManyFailures,
)
from manifold.protocol.records import Receipt, ScatterRow
from manifold.redaction import mask
from manifold.text import shortened

RENEW_SECONDS = 5.0
_POLL_SECONDS = 1.0  # between looks at controls, slots and the lease


class Coordinator:
    """One try at one scatter. `run` returns when it succeeded, and raises otherwise.

    A claim on a scatter that is not ended is given back in every case: the next try need not wait for the lease.
    """

    def __init__(self, context: Context) -> None:
        me = proxy(self)  # parts that held it would keep ledger and input until some collection of cycles
        self._context = context
        self._claim = context.claim
        self._row: ScatterRow = context.claim.row
        self._dispatch = context.dispatch
        self._policy = context.policy
        self._clock = context.clock
        self._report = Reporter(context.monitors, self._row.uid, context.claim.epoch)
        self._counters = Counters(self._clock.monotonic)
        self._refusals = context.engine.refused
        self._budget = Budget(context.policy, queued=self._row.n_failed if context.redrive is not None else 0)
        self._controls = Controls(context.ledger, context.claim, self._report)
        ended, settle = partial(Coordinator._input_ended, me), partial(Coordinator._settle, me)
        self._pending = PendingChunks(
            context.ledger, self._row.uid, context.dispatch, context.planner, context.redrive, ended
        )
        self._flow = FlowControl(context, self._pending)
        send_again = partial(Coordinator._send, me, with_job=True)
        self._replies = ReplyHandler(context, self._pending, self._report, self._counters, send_again)
        self._trouble: BaseException | None = None
        self._rerun_after = 0  # losses of commits that were seen to
        self._last = LastCommit(self._claim, context.store, self._dispatch, self._replies, settle)
        self._renewed = self._polled = self._clock.monotonic()
        self._idle = IdleWatch(context.engine, self._row.engine, self._replies.obstacle, self._report, self._polled)

    def run(self) -> ScatterRow:
        """The ledger's row of the scatter, succeeded.

        Raises:
            TooManyFailures, Cancelled, ItemsChanged, InputGone: the scatter ended so; the ledger says it too.
            Fenced: another coordinator has taken it over.
            EngineError, StoreError, LedgerError: it cannot go on; the next try continues.
        """
        began = self._clock.monotonic()
        self._report.started(self._row, self._context.why, self._context.warnings)
        if reattached := str(self._context.reattached):
            self._report.notice("info", reattached)
        self._context.ledger.database.on_wait = warn = partial(self._report.notice, "warning")
        self._context.store.on_wait = self._wait_for_store
        if self._context.redrive is not None:
            self._context.redrive.tell = warn
        if self._context.planner is not None:
            self._context.planner.tell = warn
        leaves = False
        try:
            if (trouble := self._context.engine.check()) is not None:
                self._report.notice("warning", trouble)
            self._controls.poll(self)
            while not self._round():
                self._clock.wait(self._dispatch.signal, 0.0 if self._replies.receipts else self._flow.patience())
        except BaseException as exc:
            self._trouble = exc
            context = self._context
            leaves = leaves_chunks(context.engine, context.ledger, self._row, exc, context.goes_on)
            if leaves:  # first, so that no answer comes between the last commit and the next coordinator
                context.engine.stop_listening()
            self._row = self._last.write(exc) or self._row
            if isinstance(exc, ScatterError):
                self._end_as(exc)
            raise
        finally:
            self._context.store.on_wait = None
            if leaves:
                self._dispatch.leave_all()
            self._dispatch.stop_all()
            self._report.ended(self._row, self._clock.monotonic() - began, *ending_of(self._trouble))
            self._give_back()
        return self._row

    # -- one round ---------------------------------------------------------------------------------------------------

    def _round(self) -> bool:
        """True when the scatter has succeeded."""
        for outcome in self._dispatch.collect():
            self._replies.hear(outcome)
        self._poll()
        resting = self._controls.paused or self._controls.draining
        self._write(self._flow.next(self._clock.monotonic(), resting=resting))
        self._quarantine()
        if self._replies.receipts or self._dispatch.in_flight:
            return False
        if self._controls.draining:
            by = self._controls.drained_by
            raise Drained(f"drained by {by}: what was running is committed; a try that continues does the rest")
        return self._pending.empty and self._finish()

    def _poll(self) -> None:
        """What is looked at once a second: control requests, the lease, the share of the engine."""
        if self._context.stop.is_set():
            raise Stopped("stopped by a signal to its process: what is committed stays; the next try continues")
        now = self._clock.monotonic()
        if now - self._polled < _POLL_SECONDS:
            return
        self._polled = now
        self._controls.poll(self)
        self._idle.look(now)
        if self._row.total is None and (expected := self._pending.expected()) is not None:
            self._row = self._claim.describe(expected=expected)
        if now - self._renewed >= RENEW_SECONDS:
            self._renewed = now
            self._count_refused()
            self._flow.share = max(1, self._context.ledger.running(self._row.engine))
            self._row = self._claim.commit(workers=self._context.engine.workers(), tallies=self._counters.sums).row

    def _wait_for_store(self, text: str) -> None:
        """Keep the claim while the store is waited for, and stop waiting where this try is to end."""
        self._report.notice("warning", text)
        if self._context.stop.is_set():
            raise Stopped("stopped by a signal to its process: what is committed stays; the next try continues")
        now = self._clock.monotonic()
        if now - self._renewed >= RENEW_SECONDS:
            self._renewed = now
            self._claim.renew()

    def _input_ended(self, total: int) -> None:
        if self._row.total is None:
            self._row = self._claim.set_total(total)

    # -- write, then send --------------------------------------------------------------------------------------------

    def _write(self, chunks: list[Chunk]) -> None:
        """One transaction for what came and for what goes; only then is anything sent, reported or deleted."""
        if not chunks and not self._replies.receipts:
            return
        batch = self._replies.receipts
        attempts = [self._dispatch.attempt(chunk) for chunk in chunks]
        began = self._clock.monotonic()
        committed = self._claim.commit([receipt for _, receipt in batch], attempts)
        self._counters.observe("commit_seconds", self._clock.monotonic() - began)
        self._row = committed.row
        for attempt, chunk in zip(attempts, chunks, strict=True):
            self._send(Sent(attempt, chunk))
        self._replies.receipts = []  # until here they would be committed once more on the way out, to no effect
        for (sent, receipt), won in zip(batch, committed.won, strict=True):
            self._settle(sent, receipt, won)
            if sent is not None and (not won or receipt.stop < sent.attempt.stop):
                self._pending.again(sent.chunk, receipt.stop if won else sent.attempt.start, sent.attempt.stop)
        self._report.progress(self._row, self._dispatch, self._context.engine, paused=self._controls.paused)
        if self._context.redrive is not None and self._claim.losses > self._rerun_after:
            self._budget.requeue(self._context.ledger.failed_before(self._row.uid, self._claim.epoch))
        if batch:
            self._budget.check(self._row)

    def _send(self, sent: Sent, *, with_job: bool = False) -> None:
        packed = self._dispatch.send(
            sent,
            now=self._clock.monotonic(),
            allowance=self._budget.left(self._row),
            pace=self._flow.pace(),
            with_job=with_job,
        )
        self._flow.sent(sent, packed)
        self._counters.add("bytes:in", packed)

    def _settle(self, sent: Sent | None, receipt: Receipt, won: bool) -> None:
        """After the commit: what won is counted and reported; what lost is thrown away."""
        done = receipt.n_ok + receipt.n_failed + receipt.n_skipped
        self._flow.settled(receipt, won=won)
        self._counters.add("retries", max(0, receipt.executions - done))
        if sent is not None and sent.chunk.why == "speculative":
            self._counters.add("speculations:won" if won else "speculations:lost")
        if won:
            self._counters.committed(receipt)
            self._budget.count(receipt)
            self._report.committed(receipt)
            self._counters.add("speculations:lost", self._dispatch.stop_copies(receipt))
        else:
            self._context.receipts.discard(receipt)

    def _quarantine(self) -> None:
        """Items that no worker survives: written as failed, by this process, in the next round."""
        condemned, self._replies.condemned = self._replies.condemned, []
        attempts = [self._dispatch.attempt(chunk) for chunk, _ in condemned]
        if attempts:
            self._row = self._claim.commit(attempts=attempts).row
        for attempt, (chunk, error) in zip(attempts, condemned, strict=True):
            self._replies.receipts.append((None, self._context.receipts.condemn(attempt, chunk, error)))

    # -- the end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> bool:
        """True if the account closes; otherwise what is missing is planned again."""
        if self._reruns_were_lost():
            return False
        self._row = row = self._claim.finish(self._policy.tolerate, self._counters.sums)
        if row.state == "failed":
            raise TooManyFailures(row.message or "too many items failed")
        if row.state == "succeeded":
            return True
        if self._reruns_were_lost():
            return False
        if self._context.only_failed:
            raise Incomplete(incomplete(row))
        lost = self._context.receipts.see_to_suspects(self._claim)
        self._row = row = self._claim.row
        if row.done == row.total:  # readers suspected what is there
            return False
        if self._context.source.one_shot:
            raise input_gone(lost, self._claim.losses)
        self._report.notice("warning", "the account does not close yet: what is missing is looked for in the ledger")
        self._pending.replan(self._context.planner_again(row.total))
        return False

    def _reruns_were_lost(self) -> bool:
        """True where the ledger's database has lost commits, so that items may be failed as before they ran again."""
        redrive = self._context.redrive
        if redrive is None or self._claim.losses == self._rerun_after:
            return False
        self._rerun_after = self._claim.losses
        self._report.notice("warning", "the ledger's database has lost commits: what they had settled runs again")
        self._pending.redrive(redrive.again(self._claim.row))
        return True

    def _end_as(self, exc: ScatterError) -> None:
        """Say in the ledger how it ended, where the ledger does not know yet."""
        if isinstance(exc, ItemsChanged):
            self._row = self._claim.withdraw_epoch()
        if isinstance(exc, (Drained, Stopped)):
            return  # it stays to be continued
        if self._row.state == "running":
            state: Literal["failed", "cancelled"] = "cancelled" if isinstance(exc, Cancelled) else "failed"
            self._count_refused()
            self._row = self._claim.end(state, shortened(mask(str(exc)), 2000), self._counters.sums)

    def _give_back(self) -> None:
        """Let the next try begin at once. A ledger that was waited for already is asked only once more."""
        if self._row.state != "running":
            return
        database = self._context.ledger.database
        with database.briefly() if self._last.ledger_is_away else nullcontext(), suppress(Fenced, LedgerUnavailable):
            self._count_refused()
            ending, message = ending_of(self._trouble)
            self._claim.release(self._counters.sums, ending=ending, message=message, past=self._replies.met)

    def _count_refused(self) -> None:
        """Unsigned messages since the last look. The engine may have refused some before this try."""
        before, self._refusals = self._refusals, self._context.engine.refused + self._dispatch.refused
        self._counters.add("refused", self._refusals - before)

    # -- what a person may change while it runs (controls.py) --------------------------------------------------------

    def change(self, name: str, value: object) -> None:
        """Apply max_concurrency, rate_limit or tolerate. Raises ConfigError for a value that makes no sense."""
        self._policy = self._policy.with_(**{name: value})
        self._flow.change(self._policy, self._clock.monotonic())
        self._budget.change(self._policy)
