"""The loop: plan → dispatch → commit → report. The only code that knows all the contracts.

Each round does the same few things in the same order: hear what arrived, write it to the ledger together with the next
attempts (one transaction), send those, wait. Whatever dies where, the ledger says what counts, and everything else
here is memory that the next coordinator does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Literal

from manifold import faults
from manifold.backlog import Backlog
from manifold.budget import Budget
from manifold.capture import mask
from manifold.chunks import Chunk, Sizer
from manifold.controls import Controls
from manifold.dispatch import Outcome, Sent
from manifold.errors import (
    BlobNotFound,
    Cancelled,
    EngineError,
    Fenced,
    InputGone,
    ItemsChanged,
    ItemTimeout,
    ManifoldError,
    PoisonItem,
    ScatterError,
    StoreError,
    StoreNotShared,
    TooManyFailures,
    VersionMismatch,
    WorkerLost,
)
from manifold.losses import Losses
from manifold.pace import Rate
from manifold.parts import Parts
from manifold.records import Receipt, ScatterRow
from manifold.report import Reporter
from manifold.tally import Tally

WINDOW = 2  # chunks in flight per slot: one runs, one waits where the worker finds it at once
RENEW_SECONDS = 5.0
_POLL_SECONDS = 1.0  # between looks at controls, slots and the lease
_IDLE_SECONDS = 60.0
_MANY_TRIES = 8  # of one chunk against a store that does not work


class Coordinator:
    """One try at one scatter. `run` returns when it succeeded, and raises otherwise.

    A claim on a scatter that is not ended is given back in every case: the next try need not wait for the lease.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._claim = parts.claim
        self._row: ScatterRow = parts.claim.row
        self._dispatch = parts.dispatch
        self._policy = parts.policy
        self._clock = parts.clock
        self._report = Reporter(parts.monitors, self._row.uid, parts.claim.epoch)
        self._sizer = Sizer(parts.policy.chunk_size, parts.policy.first_chunk, parts.policy.chunk_bytes)
        self._rate = Rate(parts.policy.rate_limit, parts.clock.monotonic())
        self._losses = Losses()
        self._tally = Tally()
        self._refusals = parts.engine.refused
        self._budget = Budget(parts.policy, queued=self._row.n_failed if parts.redrive is not None else 0)
        self._controls = Controls(parts.ledger, parts.claim, self._report)
        self._backlog = Backlog(
            parts.ledger, self._row.uid, parts.dispatch, parts.planner, parts.redrive, self._input_ended
        )
        self._condemned: list[tuple[Chunk, ManifoldError]] = []
        self._receipts: list[tuple[Sent | None, Receipt]] = []
        self._share = 1
        self._lacking = 0  # items that wait for tokens of the rate
        self._renewed = self._polled = self._idle_since = self._clock.monotonic()
        self._max_concurrency = parts.policy.max_concurrency

    def run(self) -> ScatterRow:
        """The ledger's row of the scatter, succeeded.

        Raises:
            TooManyFailures, Cancelled, ItemsChanged, InputGone: the scatter ended so; the ledger says it too.
            Fenced: another coordinator has taken it over.
            EngineError, StoreError, LedgerError: it cannot go on; the next try continues.
        """
        began = self._clock.monotonic()
        self._report.started(self._row, self._parts.why)
        self._parts.ledger.database.on_wait = partial(self._report.notice, "warning")
        if self._parts.redrive is not None:
            self._parts.redrive.tell = partial(self._report.notice, "warning")
        try:
            if (trouble := self._parts.engine.check()) is not None:
                self._report.notice("warning", trouble)
            self._controls.poll(self)
            while not self._round():
                self._clock.wait(self._dispatch.signal, self._patience())
        except ScatterError as exc:
            self._end_as(exc)
            raise
        finally:
            self._dispatch.stop_all()
            self._report.ended(self._row, self._clock.monotonic() - began)
            self._give_back()
        return self._row

    # -- one round ---------------------------------------------------------------------------------------------------

    def _round(self) -> bool:
        """True when the scatter has succeeded."""
        for outcome in self._dispatch.collect():
            self._hear(outcome)
        self._poll()
        self._write(self._choose())
        self._quarantine()
        if self._receipts or self._dispatch.in_flight:
            return False
        if self._controls.draining:
            raise Cancelled("drained: what was running is committed; the next try continues with the rest")
        return self._backlog.empty and self._finish()

    def _poll(self) -> None:
        """What is looked at once a second: people's wishes, the lease, the share of the engine."""
        if self._parts.stop.is_set():
            raise Cancelled("stopped: what is committed stays; the next try continues")
        now = self._clock.monotonic()
        if now - self._polled < _POLL_SECONDS:
            return
        self._polled = now
        self._controls.poll(self)
        self._notice_idle(now)
        if self._row.total is None and (expected := self._backlog.expected()) is not None:
            self._row = self._claim.describe(expected=expected)
        if now - self._renewed >= RENEW_SECONDS:
            self._renewed = now
            self._count_refused()
            self._share = max(1, self._parts.ledger.running(self._row.engine))
            self._row = self._claim.commit(workers=self._parts.engine.workers(), tallies=self._tally.sums).row

    def _notice_idle(self, now: float) -> None:
        """Say, once a minute, that there is work and nobody to do it; give up where nobody will ever come."""
        if (why := self._parts.engine.broken()) is not None:
            raise EngineError(
                f"{self._row.engine} cannot go on: {why}. What is committed stays; the next try continues"
            )
        if self._parts.engine.slots():
            self._idle_since = now
        elif now - self._idle_since >= _IDLE_SECONDS:
            self._idle_since = now
            trouble = self._parts.engine.check() or "it has no free slot"
            self._report.notice("warning", f"waiting for {self._row.engine}: {trouble}")

    def _patience(self) -> float:
        """Seconds to wait for something to arrive: less where something is due before that."""
        if self._receipts:
            return 0.0
        if self._lacking:
            return min(_POLL_SECONDS, max(0.005, self._rate.wait(self._lacking)))
        return 0.05 if self._backlog.ready else 0.25

    # -- choose ------------------------------------------------------------------------------------------------------

    def _choose(self) -> list[Chunk]:
        """The chunks to send in this round."""
        chosen: list[Chunk] = []
        self._lacking = 0
        if self._controls.paused or self._controls.draining:
            return chosen
        now = self._clock.monotonic()
        for _ in range(self._room()):
            chunk = self._backlog.take(now, self._size) or self._copy_of_straggler(now)
            if chunk is None:
                break
            if not self._rate.take(len(chunk), now):
                self._backlog.put_back(chunk)
                self._lacking = len(chunk)
                break
            chosen.append(chunk)
        return chosen

    def _room(self) -> int:
        """Chunks that may be sent now: two per slot, shared with the scatters that run on the same engine."""
        window = -(-WINDOW * self._parts.engine.slots() // self._share)
        if self._max_concurrency is not None:
            window = min(window, self._max_concurrency)
        return window - len(self._dispatch.in_flight)

    def _size(self, remaining: int | None) -> int:
        slots = max(1, self._parts.engine.slots())
        size = self._sizer.size(remaining, slots)
        return min(size, self._rate.most(slots) or size)

    def _copy_of_straggler(self, now: float) -> Chunk | None:
        """A second copy of the chunk that has been out longest, where that was asked for and slots idle."""
        if not self._policy.speculate or self._backlog.ready:
            return None
        for sent in sorted(self._dispatch.in_flight.values(), key=lambda one: one.at):
            one = sent.attempt
            alone = len(list(self._dispatch.covering(one.layer, one.start, one.stop))) == 1
            if sent.copied or sent.chunk.strikes or not alone:  # what killed a process is no straggler
                continue
            if self._sizer.straggles(now - sent.at, len(sent.chunk)):
                sent.copied = True
                return sent.chunk.copy()
        return None

    def _input_ended(self, total: int) -> None:
        if self._row.total is None:
            self._row = self._claim.set_total(total)

    # -- write, then send --------------------------------------------------------------------------------------------

    def _write(self, chunks: list[Chunk]) -> None:
        """One transaction for what came and for what goes; only then is anything sent, reported or deleted."""
        if not chunks and not self._receipts:
            return
        batch, self._receipts = self._receipts, []
        attempts = [self._dispatch.attempt(chunk) for chunk in chunks]
        began = self._clock.monotonic()
        committed = self._claim.commit([receipt for _, receipt in batch], attempts)
        self._tally.observe("commit_seconds", self._clock.monotonic() - began)
        self._row = committed.row
        for attempt, chunk in zip(attempts, chunks, strict=True):
            self._send(Sent(attempt, chunk))
        for (sent, receipt), won in zip(batch, committed.won, strict=True):
            self._settle(sent, receipt, won)
        self._report.progress(self._row, self._dispatch, self._parts.engine, paused=self._controls.paused)
        if batch:
            self._budget.check(self._row)

    def _send(self, sent: Sent, *, with_job: bool = False) -> None:
        slots = max(1, self._parts.engine.slots())
        packed = self._dispatch.send(
            sent,
            now=self._clock.monotonic(),
            allowance=self._budget.left(self._row),
            pace=self._rate.pace(min(slots, self._max_concurrency or slots)),
            with_job=with_job,
        )
        self._sizer.packed(len(sent.chunk), packed)
        self._tally.add("bytes:in", packed)

    def _settle(self, sent: Sent | None, receipt: Receipt, won: bool) -> None:
        """After the commit: what the receipt did not cover runs again; what lost is thrown away."""
        done = receipt.n_ok + receipt.n_failed + receipt.n_skipped
        self._rate.charge(receipt.executions - done)
        self._tally.add("retries", max(0, receipt.executions - done))
        if sent is not None and sent.chunk.why == "speculative":
            self._tally.add("speculations:won" if won else "speculations:lost")
        if won:
            self._tally.committed(receipt)
            self._sizer.measured(done, receipt.seconds)
            self._budget.count(receipt)
            self._report.committed(receipt)
            self._tally.add("speculations:lost", self._dispatch.stop_copies(receipt))
        else:
            self._parts.receipts.discard(receipt)
        if sent is not None and (not won or receipt.stop < sent.attempt.stop):
            self._backlog.again(sent.chunk, receipt.stop if won else sent.attempt.start, sent.attempt.stop)

    # -- hear --------------------------------------------------------------------------------------------------------

    def _hear(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            if outcome.sent is not None:
                self._hear_error(outcome.sent, outcome.error)
            return
        answer = outcome.answer
        assert answer is not None
        if answer.refused is not None:
            self._refused(outcome.sent, answer.refusal, answer.refused)
        elif answer.receipt is not None:
            receipt = answer.receipt
            if receipt.fatal is not None:
                raise ScatterError(f"the reduce function failed, so no item is to blame:\n{receipt.fatal}")
            self._receipts.append((outcome.sent, self._completed(receipt, answer.blobs)))
        elif outcome.sent is not None:
            outcome.sent.chunk.each |= answer.need == "each"
            self._send(outcome.sent, with_job=True)

    def _completed(self, receipt: Receipt, blobs: Mapping[str, bytes]) -> Receipt:
        try:
            return self._parts.receipts.complete(receipt, blobs)
        except (StoreNotShared, BlobNotFound):
            self._claim.renew()  # raises Fenced, if that is why: what a fenced coordinator hears of may be collected
            raise

    def _hear_error(self, sent: Sent, error: BaseException) -> None:
        chunk = sent.chunk
        if isinstance(error, WorkerLost):
            self._lost(sent, error)
        elif isinstance(error, CancelledError):
            self._backlog.again(chunk, chunk.start, chunk.stop)
        elif isinstance(error, (StoreError, OSError)) and chunk.sent < _MANY_TRIES:
            chunk.not_before = self._clock.monotonic() + min(30.0, 0.25 * 2.0**chunk.sent)
            self._report.notice("warning", f"items {chunk.start:,} to {chunk.stop - 1:,} will be sent again: {error}")
            self._backlog.put([chunk])
        elif isinstance(error, ManifoldError):
            raise error
        else:
            raise EngineError(
                f"items {chunk.start:,} to {chunk.stop - 1:,} came back with {type(error).__name__}: {error}. "
                "No item is to blame: the function could not be set up on the worker\n" + faults.traceback_text(error)
            ) from error

    def _refused(self, sent: Sent | None, kind: str | None, text: str) -> None:
        if kind == "versions":
            raise VersionMismatch(text)
        if kind != "stale":
            raise EngineError(text)
        self._claim.renew()  # raises Fenced, unless it is an echo from before this coordinator
        if sent is not None:
            self._backlog.again(sent.chunk, sent.attempt.start, sent.attempt.stop)

    def _lost(self, sent: Sent, lost: WorkerLost) -> None:
        verdict = self._losses.judge(sent.chunk, lost, self._clock.monotonic(), self._parts.engine.workers())
        if verdict.strike:
            self._claim.died(sent.attempt.id, lost.worker)
        kind: type[ManifoldError] = ItemTimeout if lost.overdue else PoisonItem
        self._condemned += [(chunk, kind(verdict.reason)) for chunk in verdict.condemned]
        self._backlog.put(verdict.again)
        self._tally.add("lost")
        self._report.lost(sent.attempt, lost.worker, verdict.reason)

    def _quarantine(self) -> None:
        """Items that no worker survives: written as failed, by this process, in the next round."""
        condemned, self._condemned = self._condemned, []
        attempts = [self._dispatch.attempt(chunk) for chunk, _ in condemned]
        if attempts:
            self._row = self._claim.commit(attempts=attempts).row
        for attempt, (chunk, error) in zip(attempts, condemned, strict=True):
            self._receipts.append((None, self._parts.receipts.condemn(attempt, chunk, error)))

    # -- the end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> bool:
        """True if the account closes; otherwise what is missing is planned again."""
        self._row = row = self._claim.finish(self._policy.tolerate, self._tally.sums)
        if row.state == "failed":
            raise TooManyFailures(row.message or "too many items failed")
        if row.state == "succeeded":
            return True
        lost = self._parts.receipts.see_to_suspects(self._claim)
        self._row = row = self._claim.row
        if row.done == row.total:  # readers suspected what is there
            return False
        if lost and self._parts.source.one_shot:
            raise InputGone(f"the results of {lost:,} chunks are lost: give the iterator once more to make them again")
        if self._parts.source.one_shot:
            raise ManifoldError("the ledger misses items that were given once and are not held any more; this is a bug")
        self._report.notice("warning", "the account does not close yet: what is missing is looked for in the ledger")
        self._backlog.replan(self._parts.planner_again(row.total))
        return False

    def _end_as(self, exc: ScatterError) -> None:
        """Say in the ledger how it ended, where the ledger does not know yet."""
        if isinstance(exc, ItemsChanged):
            self._row = self._claim.withdraw_epoch()
        if isinstance(exc, Cancelled) and not self._controls.cancelled:
            return  # stopped or drained: it stays to be continued
        if self._row.state == "running":
            state: Literal["failed", "cancelled"] = "cancelled" if isinstance(exc, Cancelled) else "failed"
            self._count_refused()
            self._row = self._claim.end(state, mask(str(exc))[:2000], self._tally.sums)

    def _give_back(self) -> None:
        if self._row.state == "running":
            with suppress(Fenced):
                self._count_refused()
                self._claim.release(self._tally.sums)

    def _count_refused(self) -> None:
        """Unsigned messages since the last look. The engine may have refused some before this try."""
        before, self._refusals = self._refusals, self._parts.engine.refused + self._dispatch.refused
        self._tally.add("refused", self._refusals - before)

    # -- what a person may change while it runs (controls.py) --------------------------------------------------------

    def change(self, name: str, value: object) -> None:
        """Apply max_concurrency, rate_limit or tolerate. Raises ConfigError for a value that makes no sense."""
        self._policy = self._policy.with_(**{name: value})
        self._max_concurrency = self._policy.max_concurrency
        self._rate.change(self._policy.rate_limit, self._clock.monotonic())
        self._budget.change(self._policy)
