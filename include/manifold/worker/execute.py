"""The items of one chunk: retries, timeouts, pace, outcomes.

Items run one after the other; those of an `async def` run together (`concurrent`). The loop costs one `append` per item
that succeeds; all else is paid only by items that fail.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from manifold.protocol.codec import FailedItem, Segment
from manifold.protocol.digests import item_digest
from manifold.protocol.job import Job
from manifold.protocol.task import Broken
from manifold.worker import concurrent, error_report, forks, retries
from manifold.worker.alarm import Alarm
from manifold.worker.fold import folded
from manifold.worker.interrupts import Interrupts, is_awaitable
from manifold.worker.meter import Meter
from manifold.worker.originals import Originals


class Execution:
    """One execution of a chunk.

    Args:
        job: the options.
        call: the function of one item, constants bound.
        items: a list that this object may shorten.
        positions: the items' positions in the input.
        originals: the unchanged items, for retries and the quarantine.
        allowance: failed items before it stops early.
        pace: seconds between the starts of executions.
        report: called at the start of each item, where it matters that whoever keeps watch knows the very item.
        meter: weighs the results; it ends the chunk early where they weigh too much.
        ended: called with the position of each item that ran together with others, when it has its outcome.
        interrupts: tells what a signal has raised from what an item has.
        alarm: makes what enforces `item_timeout`.
        monotonic, sleep: the worker's clock.

    Afterwards `done` items from the front have an outcome: `values` those of the items that succeeded, in order;
    `marks` the rest, as index → "f" or "s"; `failed` what the quarantine keeps.
    """

    def __init__(
        self,
        job: Job,
        call: Callable[[Any], Any],
        items: list[Any],
        positions: Sequence[int],
        *,
        originals: Originals,
        allowance: int,
        pace: float = 0.0,
        report: Callable[[], None] | None = None,
        meter: Meter | None = None,
        ended: Callable[[int], None] = lambda _: None,
        interrupts: Interrupts | None = None,
        alarm: Callable[[float], Alarm] = Alarm,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.job = job
        self.items = items
        self.positions = positions
        self.originals = originals
        self.values: list[Any] = []
        self.marks: dict[int, str] = {}
        self.failed: list[FailedItem] = []
        self.retries = 0
        self.finished: int | None = None  # where items run together: how many from the front are done
        self.meter = meter or Meter(None)
        self.attempt = 1  # of the item at hand, where they run one after the other
        self.call = call
        self.pace = pace
        self.ended = ended
        self.interrupts = interrupts or Interrupts()
        self._allowance = allowance
        self._report = report
        self._alarm = alarm(job.item_timeout) if job.item_timeout and not job.is_async else None
        self._monotonic = monotonic
        self._sleep = sleep
        self._due = 0.0
        self._pid = os.getpid()

    @property
    def done(self) -> int:
        """Items from the front that have an outcome. May be read from any thread."""
        return len(self.values) + len(self.marks) if self.finished is None else self.finished

    @property
    def position(self) -> int:
        """The position of the item at hand."""
        return self.positions[min(self.done, len(self.positions) - 1)]

    def stop(self) -> None:
        """End after the item at hand. May be called from any thread, as a signal handler too."""
        # A list's iterator ends where the list does, so the running loop needs no check of its own.
        del self.items[self.done + 1 :]

    def deadline(self) -> float | None:
        """When (by the worker's clock) the item at hand has ignored its alarm; None where it may run for ever."""
        return None if self._alarm is None else self._alarm.deadline()

    def run(self) -> None:
        """Run the items; returns when all, or those before an early stop, have an outcome.

        Raises what a signal's handler has raised meanwhile, and nothing else.
        """
        with self.interrupts.watched(), forks.only_here(self.stop):
            if self.job.is_async:
                concurrent.run(self)
            else:
                self._run_in_turn(self._in_turn())

    @contextmanager
    def released(self) -> Iterator[None]:
        """After it, nothing that holds this object is held by it: else all items would stay until garbage is collected,
        which may be many chunks later."""
        try:
            yield
        finally:
            self.ended, self._report = _nobody, None

    def retract(self, failed: Mapping[int, BaseException]) -> None:
        """Make the items at these indexes, whose values stand in `values`, failed ones."""
        ok = [index for index in range(self.done) if index not in self.marks]
        self.values[:] = [value for index, value in zip(ok, self.values, strict=True) if index not in failed]
        for index, exc in failed.items():
            self._fail(index, exc, 1)

    def truncate(self, done: int) -> None:
        """Forget the outcomes of all but the first `done` items, which are fewer than now."""
        self.marks = {index: mark for index, mark in self.marks.items() if index < done}
        del self.values[done - len(self.marks) :]
        if done < len(self.positions):
            self.failed = [one for one in self.failed if one.failure.pos < self.positions[done]]

    def segments(self) -> list[Segment]:
        """The values folded by `reduce`, one segment per run of positions that no failure or gap breaks."""
        assert self.job.reduce is not None
        return folded(self.job.reduce, self.values, self.marks, self.positions[: self.done])

    def close(self, index: int, exc: BaseException, attempts: int) -> None:
        """Give the item its outcome after its last attempt: skipped or failed."""
        if retries.skips(exc):
            self.marks[index] = "s"
        else:
            self._fail(index, exc, attempts)
            if len(self.failed) > self._allowance:
                self.stop()

    def raised(self, exc: BaseException) -> None:
        """Return where `exc`, which left an item's function, is that item's outcome; else raise, or end this child."""
        forks.end_child(self._pid, exc)
        self.interrupts.check()

    # -- one after the other -----------------------------------------------------------------------------------------

    def _run_in_turn(self, call: Callable[[Any], Any]) -> None:
        values, append = self.values, self.values.append
        batches = self.meter.batches(self.items, values)
        while True:
            try:
                for batch in batches:
                    for item in batch:
                        append(call(item))
                    if len(values) == 1 and is_awaitable(values[0]):
                        break
                else:
                    return
                break
            except BaseException as exc:  # noqa: BLE001 - whatever an item raises is that item's outcome
                self.raised(exc)
                self._settle(exc, call)
        self._run_together()

    def _run_together(self) -> None:
        """A function that is no `async def` has returned something to await, and so it will for the other items."""
        first: Awaitable[Any] = self.values.pop()
        self._alarm = None
        concurrent.run(self, first)

    def _settle(self, exc: BaseException, call: Callable[[Any], Any]) -> None:
        """Give the item that raised `exc` its outcome, by trying it again where that is asked for."""
        index, attempts = self.done, 1
        while retries.again(self.job, exc, attempts):
            self._sleep(retries.delay(self.job, exc, attempts))
            attempts += 1
            self.attempt = attempts
            self.retries += 1
            item = self.items[index] = self.originals.fresh(index)
            try:
                self.values.append(call(item))
            except BaseException as again:  # noqa: BLE001 - as above
                self.raised(again)
                exc = again
            else:
                self.attempt = 1
                return
        self.attempt = 1
        self.close(index, exc, attempts)

    def _in_turn(self) -> Callable[[Any], Any]:
        """The call of one item with all that belongs around it, and nothing else."""
        call = self.call if self._report is None else _reported(self.call, self._report)
        if self._alarm is not None:
            call = self._alarm.around(call)
        return self._paced(call) if self.pace else call

    def _paced(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def paced(item: Any) -> Any:
            wait = self._due - self._monotonic()
            if wait > 0:
                self._sleep(wait)
            self._due = max(self._due, self._monotonic() - self.pace) + self.pace
            return call(item)

        return paced

    # -- failures ----------------------------------------------------------------------------------------------------

    def _fail(self, index: int, exc: BaseException, attempts: int) -> None:
        item, raw = self.originals.item(index), self.originals.packed(index)
        record, text = error_report.failure(
            exc,
            pos=self.positions[index],
            attempts=attempts,
            item=item,
            key=self._label(index),
            digest=None if isinstance(item, Broken) else item_digest(item),
        )
        self.failed.append(FailedItem(record, raw, text))
        self.marks[index] = "f"

    def _label(self, index: int) -> str | None:
        if self.job.key is None or isinstance(self.originals.item(index), Broken):
            return None
        try:
            return self.job.label(self.originals.fresh(index))
        except BaseException as exc:  # noqa: BLE001 - a label only
            self.raised(exc)
            return f"(key failed: {type(exc).__name__})"


def _nobody(position: int) -> None:
    """Nobody is to be told."""


def _reported(call: Callable[[Any], Any], report: Callable[[], None]) -> Callable[[Any], Any]:
    def reported(item: Any) -> Any:
        report()
        return call(item)

    return reported
