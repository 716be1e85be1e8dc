"""The event loop of a worker thread. It lives as long as the thread, so that a client or a lock made on it stays good.

What chunks leave behind does not: tasks that are pending when a chunk ends are cancelled. A thread's loop is closed
when the thread has ended, or the process ends; `per_worker` values that were made on it are closed on it, before.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from traceback import format_exc
from typing import Any, TypeVar

from manifold.redaction import mask
from manifold.worker import forks, perworker
from manifold.worker.interrupts import Interrupts, pass_on

_log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for a leftover to end once it is cancelled
_JOBS_KEPT = 8
T = TypeVar("T")


class ThreadLoop:
    """An event loop, a new one where none is given, and what was made on it; used by one thread at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.thread = threading.current_thread()
        self.loop = loop or asyncio.new_event_loop()
        self._made: OrderedDict[int, tuple[object, dict[str, Any], list[perworker.Closer]]] = OrderedDict()

    def run(self, main: Coroutine[Any, Any, T], interrupts: Interrupts, abort: Callable[[], None]) -> T:
        """What `main` returns; then cancels the tasks that were made meanwhile and have not ended.

        Raises what `main` raises, or what a signal's handler does, after a call of `abort`.
        """
        before = asyncio.all_tasks(self.loop)
        task = self.loop.create_task(main)
        try:
            return self._until_done(task, interrupts)
        except BaseException:
            abort()
            raise
        finally:
            self._cancel(asyncio.all_tasks(self.loop) - before)

    def resolved(self, owner: object, consts: dict[str, Any]) -> dict[str, Any]:
        """`consts` with values of this loop in place of the recipes, made once for each `owner` that is in use."""
        held = self._made.get(id(owner))
        if held is None:
            closers: list[perworker.Closer] = []
            task = self.loop.create_task(perworker.resolve_on_loop(consts, closers))
            try:
                resolved = self._until_done(task, Interrupts())
            except BaseException:
                self._run_closers(closers)
                raise
            self._made[id(owner)] = held = owner, resolved, closers
            while len(self._made) > _JOBS_KEPT:
                _, (_, _, old) = self._made.popitem(last=False)
                self._run_closers(old)
        self._made.move_to_end(id(owner))
        return held[1]

    def close(self) -> None:
        """Close what was made on the loop, then the loop."""
        if self.loop.is_closed() or self.loop.is_running():
            return
        while self._made:
            _, (_, _, closers) = self._made.popitem()
            self._run_closers(closers)
        self._cancel(asyncio.all_tasks(self.loop))
        with suppress(RuntimeError):  # at the interpreter's end no thread can be started any more
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def isolate(self) -> None:
        """Leave to a forked child a loop that has nothing in common with the one that goes on in its parent."""
        # No interface does this. Without it the child would run other items' tasks, on the parent's own epoll.
        loop: Any = self.loop
        with suppress(AttributeError):
            for handle in (*loop._ready, *loop._scheduled):
                handle.cancel()
            loop._selector = selectors.DefaultSelector()

    def _until_done(self, task: asyncio.Task[T], interrupts: Interrupts) -> T:
        while True:
            try:
                return self.loop.run_until_complete(task)
            except (KeyboardInterrupt, SystemExit):
                # The loop passes these on from whatever task raises them, one that an item has made as well. That task
                # has them as its exception, so whoever awaits it gets them.
                interrupts.check()
                if task.done():
                    raise
            except RuntimeError:
                if task.done() or self.loop.is_closed() or asyncio._get_running_loop() is not None:
                    raise  # else an item has called `loop.stop()`

    def _cancel(self, leftovers: Iterable[asyncio.Task[Any]]) -> None:
        pending = [task for task in leftovers if not task.done()]
        if not pending or self.loop.is_closed() or self.loop.is_running():
            return
        for task in pending:
            task.cancel()
        with suppress(BaseException):
            self.loop.run_until_complete(asyncio.wait(pending, timeout=_PATIENCE))
        for task in pending:
            if task.done() and not task.cancelled():
                task.exception()  # which nobody else asks for

    def _run_closers(self, closers: list[perworker.Closer]) -> None:
        while closers:
            close = closers.pop()
            try:
                self.loop.run_until_complete(close())
            except BaseException as exc:  # noqa: BLE001 - a user's code; the value is not used any more
                pass_on(exc)
                _log.warning("a per_worker value did not close:\n%s", mask(format_exc()))


_here = threading.local()
_loops: list[ThreadLoop] = []
_lock = threading.Lock()


class _Process:
    """Lives as long as the process."""


_process = _Process()


def here() -> ThreadLoop:
    """The loop of this thread; made on first use."""
    held: ThreadLoop | None = getattr(_here, "loop", None)
    if held is None or held.loop.is_closed():
        close_ended()
        forks.in_child(_in_child)
        held = _here.loop = ThreadLoop()
        with _lock:
            if not _loops:
                perworker.close_later(weakref.finalize(_process, _close_all))
            _loops.append(held)
    return held


def close_ended() -> None:
    """Close the loops of threads that have ended."""
    _close(lambda held: not held.thread.is_alive())


def _close_all() -> None:
    _close(lambda _: True)


def _close(wanted: Callable[[ThreadLoop], bool]) -> None:
    with _lock:
        ended = [held for held in _loops if wanted(held)]
        _loops[:] = [held for held in _loops if held not in ended]
    if ended and asyncio._get_running_loop() is not None:  # of a notebook, say: a thread runs one loop at a time
        closer = threading.Thread(target=_close_each, args=(ended,), name="manifold-close")
        closer.start()
        closer.join()
    else:
        _close_each(ended)


def _close_each(ended: list[ThreadLoop]) -> None:
    for held in ended:
        held.close()


_inherited: list[ThreadLoop] = []  # by a child, which must not even collect them: that would change its parent's epoll


def _in_child() -> None:
    global _here, _lock
    if (held := getattr(_here, "loop", None)) is not None:
        held.isolate()
    _inherited.extend(_loops)
    _loops.clear()
    _here, _lock = threading.local(), threading.Lock()
