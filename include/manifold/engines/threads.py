"""Threads of this process: `threads://8`, or `threads://` for as many as the standard library would take.

For functions that wait (network, disk) or that let go of the interpreter's lock. No process stands between an item
and the coordinator: an item that crashes the interpreter takes everything with it, and `item_timeout` cannot stop
an item that does not return.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any, ClassVar, Self

from manifold.abc import Engine
from manifold.engines.urls import cpus, threads_url
from manifold.protocol.records import WorkerInfo
from manifold.worker import beat, forks, loops


class ThreadsEngine(Engine):
    """An engine of `slots` threads."""

    in_process: ClassVar[bool] = True

    def __init__(self, slots: int) -> None:
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="manifold")
        self._slots = slots
        self._tokens = count(1)
        self._running: set[str] = set()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        slots = threads_url(url, **options)
        return cls(slots or min(32, cpus() + 4))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._pool.submit(self._call, str(next(self._tokens)), fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
        loops.close_ended()

    def slots(self) -> int:
        return self._slots

    def workers(self) -> list[WorkerInfo]:
        name, running = f"{platform.node()}:{os.getpid()}", self._running.copy()
        done = sum(call.position for call in beat.snapshot() if call.token in running)
        return [WorkerInfo(name, platform.node(), os.getpid(), holding=tuple(sorted(running)), done=done)]

    def _call(self, token: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with beat.calling(token):
            self._running.add(token)
            try:
                with forks.only_here():
                    return fn(*args, **kwargs)
            finally:
                self._running.discard(token)
