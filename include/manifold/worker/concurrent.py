"""The items of one chunk together, on the event loop of this thread: up to `async_concurrency` at once."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from manifold.errors import ItemTimeout
from manifold.worker import capture, current, forks, loops, retries

if TYPE_CHECKING:
    from manifold.worker.execute import Execution


def run(execution: Execution, first: Awaitable[Any] | None = None) -> None:
    """Run the items that have no outcome yet; `first` is what the call of the first of them has returned already."""
    together = _Together(execution, first)
    try:
        loops.here().run(together.run(), execution.interrupts, together.abort)
    finally:
        together.finish()


class _Together:
    """The tasks of a chunk. Each item has one, with a context of its own."""

    def __init__(self, execution: Execution, first: Awaitable[Any] | None) -> None:
        self._execution = execution
        self._job = execution.job
        self._first = None if first is None else (execution.done, first)
        self._results: dict[int, Any] = dict(enumerate(execution.values))
        self._finished = set(execution.marks)
        self._next = execution.done  # nothing but failures before it, or nothing at all
        self._running: set[asyncio.Task[None]] = set()
        self._due = 0.0
        self._pid = os.getpid()
        self._aborted = False
        execution.finished = execution.done

    async def run(self) -> None:
        """All items; returns when each has its outcome, or those before an early stop."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._fill()
        while self._running and not self._ended.done():
            try:
                await asyncio.shield(self._ended)
            except asyncio.CancelledError:  # by an item that cancels all tasks of its loop
                if self._aborted:
                    raise
                _uncancel()
        if self._ended.done():
            self._ended.result()

    def abort(self) -> None:
        """The chunk ends at once: what its tasks raise from here on is not an item's outcome."""
        self._aborted = True

    def finish(self) -> None:
        """Put the outcomes in order. After an early stop, what was finished beyond the first gap runs again: a receipt
        covers a prefix.
        """
        execution = self._execution
        done = execution.done
        execution.values[:] = [self._results[index] for index in sorted(self._results)]
        execution.marks = dict(sorted(execution.marks.items()))
        execution.finished = None
        execution.truncate(done)

    def _fill(self) -> None:
        items = self._execution.items
        while len(self._running) < self._job.async_concurrency and self._next < len(items):
            index, self._next = self._next, self._next + 1
            context = self._context.copy()
            task = self._loop.create_task(self._one(index, items[index]), context=context)
            self._running.add(task)
            task.add_done_callback(self._end, context=self._context)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        failed = None if task.cancelled() else task.exception()
        if self._ended.done():
            return
        if failed is not None:  # a signal's
            self._ended.set_exception(failed)
            return
        self._fill()
        if not self._running:
            self._ended.set_result(None)

    async def _one(self, index: int, item: Any) -> None:
        execution, attempts = self._execution, 0
        capture.item.set(execution.positions[index])
        while True:
            attempts += 1
            current.at.set((index, item))
            current.attempt.set(attempts)
            try:
                caught = await self._attempt(index, item)
            except GeneratorExit as exc:  # one that a task of the item's raised comes out here, beside what is awaited
                if self._aborted:
                    raise
                caught = exc
            if caught is None or not retries.again(self._job, caught, attempts):
                break
            execution.retries += 1
            await self._pause(retries.delay(self._job, caught, attempts))
            item = execution.originals.fresh(index)
        if caught is not None:
            execution.close(index, caught, attempts)
        else:
            self._weigh(self._results[index])
        execution.ended(execution.positions[index])
        self._finished.add(index)
        while execution.finished in self._finished:
            execution.finished += 1

    def _weigh(self, result: Any) -> None:
        meter = self._execution.meter
        meter.add(result)
        if meter.full:  # all that has begun is finished, so that nothing of it runs again
            del self._execution.items[self._next :]

    async def _attempt(self, index: int, item: Any) -> BaseException | None:
        """Execute the item; what it raised, if anything."""
        timeout, limit = self._job.item_timeout, None
        try:
            await self._pace()
            if timeout is None:
                self._results[index] = await self._call(index, item)
            else:
                limit = asyncio.timeout(timeout)  # it counts from here on: what waits for its pace does not run
                async with limit:
                    self._results[index] = await self._call(index, item)
            forks.end_child(self._pid, None)
            return None
        except BaseException as exc:
            forks.end_child(self._pid, exc)
            if self._aborted:
                raise
            self._execution.interrupts.check()
            _uncancel()
            if limit is not None and limit.expired() and isinstance(exc, TimeoutError):  # else one of the item's own
                return ItemTimeout(f"ran longer than item_timeout={timeout:g} s")
            return exc

    def _call(self, index: int, item: Any) -> Awaitable[Any]:
        if self._first is not None and self._first[0] == index:
            (_, called), self._first = self._first, None
        else:
            called = self._execution.call(item)
        return called

    async def _pace(self) -> None:
        if pace := self._execution.pace:
            now = self._loop.time()
            self._due = max(self._due + pace, now)
            await asyncio.sleep(self._due - now)

    async def _pause(self, seconds: float) -> None:
        until = self._loop.time() + seconds
        while (left := until - self._loop.time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:  # of an item that has cancelled its own task
                if self._aborted:
                    raise
                _uncancel()


def _uncancel() -> None:
    """An item that has cancelled its own task has its outcome; the task goes on to the next attempt."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
