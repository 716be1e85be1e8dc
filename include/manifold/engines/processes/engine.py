"""Worker processes of this host: `processes://4`, or `processes://` for one per CPU.

Processes are forked off a fresh interpreter (`?start=forkserver`, the default), or are fresh interpreters themselves
(`?start=spawn`); the coordinator itself is never forked. One that dies costs the call that it ran, is replaced, and
disturbs no other. All of them end with their coordinator, also when that one is killed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any, ClassVar, Self

from manifold.abc import Engine
from manifold.engines.processes.frames import Frame, Kind, pack_call
from manifold.engines.processes.pool import WorkerPool
from manifold.engines.processes.worker import Call
from manifold.engines.urls import cpus, processes_url
from manifold.errors import Unpicklable
from manifold.protocol.records import WorkerInfo


class ProcessesEngine(Engine):
    """An engine of `slots` worker processes, which are started at once."""

    kills_items: ClassVar[bool] = True

    def __init__(self, slots: int, *, start: str = "forkserver") -> None:
        self._pool = WorkerPool(slots, fresh=start == "spawn")
        self._backlog = self._pool.backlog
        self._numbers = count(1)
        # An engine that nobody holds any more finishes its calls and ends its workers.
        weakref.finalize(self, self._pool.close, wait=False, cancel=False)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        slots, given = processes_url(url, **options)
        return cls(slots or cpus(), **given)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        number = next(self._numbers)
        try:
            call = Call(pack_call(number, fn, args, kwargs))
        except Exception as exc:  # noqa: BLE001 - pickling runs a user's code
            call = Call(Frame(Kind.CALL, number))
            error = Unpicklable(f"the call cannot be sent to a worker process: {exc}")
            error.__cause__ = exc
            call.fail(error)
            return call
        self._pool.add(call)
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.close(wait=wait, cancel=cancel_futures)

    def slots(self) -> int:
        return 0 if self._backlog.broken or self._backlog.closed else self._pool.size

    def workers(self) -> list[WorkerInfo]:
        return self._pool.info()

    def check(self) -> str | None:
        return self.broken()

    def broken(self) -> str | None:
        return self._backlog.broken

    def kill(self, future: Future[Any]) -> None:
        if isinstance(future, Call) and not future.cancel():
            self._pool.stop(future)

    def places(self) -> dict[Future[Any], tuple[str, int | None]]:
        """Return the calls that have begun: each one's process, and how many of its items are done."""
        return dict(self._pool.places())

    def drain(self) -> None:
        """Take no more calls, drop those that wait, and have those that run end after the item at hand."""
        self._pool.close(wait=False, cancel=True)
        self._pool.terminate()
