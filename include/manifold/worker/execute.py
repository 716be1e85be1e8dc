"""The items of one chunk, one after the other (or together, for `async def`): retries, timeouts, pace, outcomes.

The loop costs one `append` per item that succeeds; all else is paid only by items that fail.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from manifold.errors import ItemTimeout
from manifold.protocol import wire
from manifold.protocol.codec import FailedItem, Segment
from manifold.protocol.itemdigest import item_digest
from manifold.protocol.job import Job
from manifold.protocol.task import Broken
from manifold.worker import current, faults, retries
from manifold.worker.fold import folded
from manifold.worker.meter import Meter

_GRACE = 2.0  # seconds that an item may ignore its alarm before its process is ended
_NOT_OURS = (KeyboardInterrupt, GeneratorExit)


class Execution:
    """One execution of a chunk.

    Args:
        job: the options.
        call: the function of one item, constants bound.
        items: a list that this object may shorten.
        positions: the items' positions in the input.
        pristine: gives the unchanged items, for the quarantine; called only if an item fails.
        allowance: failed items before it stops early.
        pace: seconds between the starts of executions.
        report: called at the start of each item, where it matters that whoever keeps watch knows the very item.
        meter: weighs the results; it ends the chunk early where they weigh too much.
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
        pristine: Callable[[], Sequence[Any]],
        allowance: int,
        pace: float = 0.0,
        report: Callable[[], None] | None = None,
        meter: Meter | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.job = job
        self.items = items
        self.positions = positions
        self.values: list[Any] = []
        self.marks: dict[int, str] = {}
        self.failed: list[FailedItem] = []
        self.retries = 0
        self.meter = meter or Meter(None)
        self.attempt = 1  # of the item at hand, where they run one after the other
        self._pristine = pristine
        self._allowance = allowance
        self._call = call
        if not job.is_async:
            self._call = self._timed(call, report) if job.item_timeout else _reported(call, report)
        self._pace = pace
        self._monotonic = monotonic
        self._sleep = sleep
        self._due = 0.0
        self._began: float | None = None
        self._finished: int | None = None  # async only: how many from the front are done

    @property
    def done(self) -> int:
        """Items from the front that have an outcome. May be read from any thread."""
        return len(self.values) + len(self.marks) if self._finished is None else self._finished

    @property
    def position(self) -> int:
        """The position of the item at hand."""
        return self.positions[min(self.done, len(self.positions) - 1)]

    def stop(self) -> None:
        """End after the item at hand. May be called from any thread, as a signal handler too."""
        # A list's iterator ends where the list does, so the running loop needs no check of its own.
        del self.items[self.done + 1 :]

    def deadline(self) -> float | None:
        """When (by `time.monotonic`) the item at hand has ignored its alarm; None where it may run for ever."""
        began, timeout = self._began, self.job.item_timeout
        return None if began is None or timeout is None else began + timeout + _GRACE

    def run(self) -> None:
        """Run the items; returns when all, or those before an early stop, have an outcome."""
        if self.job.is_async:
            asyncio.run(self._run_async())
            return
        call = self._paced if self._pace else self._call
        append = self.values.append
        batches = self.meter.batches(self.items, self.values)
        while True:
            item = None
            try:
                for batch in batches:
                    for item in batch:
                        append(call(item))
                return
            except _NOT_OURS:
                raise
            except BaseException as exc:  # noqa: BLE001 - whatever an item raises is that item's outcome
                self._settle(item, exc, call)

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

    # -- one item ----------------------------------------------------------------------------------------------------

    def _settle(self, item: Any, exc: BaseException, call: Callable[[Any], Any]) -> None:
        """Give the item that raised `exc` its outcome, by trying it again where that is asked for."""
        index, attempts = self.done, 1
        while retries.again(self.job, exc, attempts):
            self._sleep(retries.delay(self.job, exc, attempts))
            attempts += 1
            self.attempt = attempts
            self.retries += 1
            try:
                self.values.append(call(item))
            except _NOT_OURS:
                raise
            except BaseException as again:  # noqa: BLE001 - as in run()
                exc = again
            else:
                self.attempt = 1
                return
        self.attempt = 1
        self._close(index, exc, attempts)

    def _close(self, index: int, exc: BaseException, attempts: int) -> None:
        if retries.skips(exc):
            self.marks[index] = "s"
        else:
            self._fail(index, exc, attempts)
            if len(self.failed) > self._allowance:
                self.stop()

    def _fail(self, index: int, exc: BaseException, attempts: int) -> None:
        item = self._pristine()[index]
        raw = item.raw if isinstance(item, Broken) else wire.dumps_if_possible(item)
        record, text = faults.failure(
            exc,
            pos=self.positions[index],
            attempts=attempts,
            item=item,
            key=None if isinstance(item, Broken) else self.job.label(item),
            digest=None if isinstance(item, Broken) else item_digest(item),
        )
        self.failed.append(FailedItem(record, raw, text))
        self.marks[index] = "f"

    # -- time --------------------------------------------------------------------------------------------------------

    def _paced(self, item: Any) -> Any:
        wait = self._due - self._monotonic()
        if wait > 0:
            self._sleep(wait)
        self._due = max(self._due, self._monotonic() - self._pace) + self._pace
        return self._call(item)

    def _timed(self, call: Callable[[Any], Any], report: Callable[[], None] | None) -> Callable[[Any], Any]:
        """`call` under an alarm where this is the main thread; elsewhere only `deadline` is watched."""
        timeout = self.job.item_timeout
        assert timeout is not None
        alarmed = threading.current_thread() is threading.main_thread()

        def ring(_signal: int, _frame: object) -> None:
            if self._began is not None:  # else it rings just as the item ends
                raise _Alarm

        def timed(item: Any) -> Any:
            self._began = time.monotonic()
            if report is not None:
                report()
            before = signal.signal(signal.SIGALRM, ring) if alarmed else None
            try:
                if alarmed:
                    signal.setitimer(signal.ITIMER_REAL, timeout)
                return call(item)
            except _Alarm:
                raise ItemTimeout(f"ran longer than item_timeout={timeout:g} s") from None
            finally:
                self._began = None
                if alarmed:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    signal.signal(signal.SIGALRM, before)

        return timed

    # -- async -------------------------------------------------------------------------------------------------------

    async def _run_async(self) -> None:
        """All items of the chunk, `async_concurrency` at once; outcomes are put in order afterwards."""
        results: dict[int, Any] = {}
        finished: set[int] = set()
        gate = asyncio.Semaphore(self.job.async_concurrency)
        self._finished = 0
        started = 0

        async def one(index: int, item: Any) -> None:
            async with gate:
                if index < len(self.items):  # else stopped in the meantime
                    nonlocal started
                    started = max(started, index + 1)
                    current.at.set((index, item))
                    await self._one_async(index, item, results)
                    finished.add(index)
                    if index in results:
                        self.meter.add(results[index])
                        if self.meter.full:  # all that has begun is finished, so that nothing of it runs again
                            del self.items[started:]
                    while self._finished in finished:
                        self._finished += 1

        async with asyncio.TaskGroup() as group:
            for index, item in enumerate(list(self.items)):
                group.create_task(one(index, item))
        # After an early stop, what was finished beyond the first gap runs again: a receipt covers a prefix.
        done = self._finished
        self.values[:] = [results[index] for index in sorted(results)]
        self.marks = dict(sorted(self.marks.items()))
        self._finished = None
        self.truncate(done)

    async def _one_async(self, index: int, item: Any, results: dict[int, Any]) -> None:
        attempts = 0
        while True:
            attempts += 1
            current.attempt.set(attempts)
            limit = asyncio.timeout(self.job.item_timeout)
            try:
                await self._pace_async()
                async with limit:
                    results[index] = await _as_awaitable(self._call(item))
                return
            except _NOT_OURS:
                raise
            except BaseException as exc:
                if isinstance(exc, asyncio.CancelledError) and _is_cancelled():
                    raise
                caught = exc
            if limit.expired() and isinstance(caught, TimeoutError):  # else it is one of the item's own
                caught = ItemTimeout(f"ran longer than item_timeout={self.job.item_timeout:g} s")
            if not retries.again(self.job, caught, attempts):
                self._close(index, caught, attempts)
                return
            self.retries += 1
            await asyncio.sleep(retries.delay(self.job, caught, attempts))

    async def _pace_async(self) -> None:
        if self._pace:
            now = time.monotonic()
            self._due = max(self._due + self._pace, now)
            await asyncio.sleep(self._due - now)


class _Alarm(BaseException):
    """Not an Exception, so that a user's `except Exception` does not swallow it."""


async def _as_awaitable(value: Awaitable[Any]) -> Any:
    return await value


def _is_cancelled() -> bool:
    """Somebody wants this task to end: not the item itself, which may raise CancelledError like any other."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reported(call: Callable[[Any], Any], report: Callable[[], None] | None) -> Callable[[Any], Any]:
    if report is None:
        return call

    def reported(item: Any) -> Any:
        report()
        return call(item)

    return reported
