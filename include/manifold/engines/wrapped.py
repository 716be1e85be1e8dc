"""Any executor of the caller's own as an engine: `manifold.scatter(fn, items, engine=ProcessPoolExecutor(4))`.

It has no URL. Functions and arguments must travel the way that executor sends them. The executor stays its owner's:
`shutdown` waits for what was submitted here, and leaves the executor open.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from typing import Any, ClassVar, Self

from manifold.abc import Engine
from manifold.errors import ConfigError, WorkerLost
from manifold.protocol.records import WorkerInfo


class WrappedEngine(Engine):
    """`executor` as an engine with as many slots as it has workers, or with `slots`.

    An executor that breaks fails its futures with WorkerLost. It does not recover, so it has no slots from then on.
    """

    same_host: ClassVar[bool] = False  # nobody knows where it runs its calls, but for the two below

    def __init__(self, executor: Executor, *, slots: int | None = None) -> None:
        self._executor = executor
        self._slots = slots or getattr(executor, "_max_workers", None) or 1
        self._pending: set[_Follower] = set()
        self._broken: BrokenExecutor | None = None
        self._open = True

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        raise ConfigError("an executor of your own has no URL; pass the executor itself as `engine`")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self._open:
            raise RuntimeError("this engine is shut down; open another one")
        try:
            leader = self._executor.submit(fn, *args, **kwargs)
        except BrokenExecutor as exc:
            leader = Future()
            leader.set_exception(exc)
        follower = _Follower(leader)
        self._pending.add(follower)
        leader.add_done_callback(lambda _: self._finish(follower))
        return follower

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._open = False
        pending = list(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            _wait(pending)

    def slots(self) -> int:
        return 0 if self._broken else self._slots

    def workers(self) -> list[WorkerInfo]:
        name = f"{type(self._executor).__name__} of {platform.node()}:{os.getpid()}"
        held = tuple(str(id(future)) for future in list(self._pending) if future.running())
        return [WorkerInfo(name, platform.node(), os.getpid(), holding=held, alive=self._broken is None)]

    def check(self) -> str | None:
        return self.broken()

    def broken(self) -> str | None:
        return f"the executor is broken: {self._broken}; make a new one" if self._broken else None

    def _finish(self, follower: _Follower) -> None:
        self._pending.discard(follower)
        leader = follower.leader
        if leader.cancelled():
            Future.cancel(follower)
            follower.set_running_or_notify_cancel()
            return
        follower.set_running_or_notify_cancel()
        error = leader.exception()
        if error is None:
            follower.set_result(leader.result())
        elif isinstance(error, BrokenExecutor):
            self._broken = error
            follower.set_exception(_translated(error))
        else:
            follower.set_exception(error)


class WrappedProcesses(WrappedEngine):
    """The standard library's process pool."""

    same_host: ClassVar[bool] = True


class WrappedThreads(WrappedEngine):
    """The standard library's thread pool."""

    same_host: ClassVar[bool] = True
    in_process: ClassVar[bool] = True


def wrap(executor: Executor) -> WrappedEngine:
    """An engine over `executor`, of the kind that knows most about it."""
    if isinstance(executor, ThreadPoolExecutor):
        return WrappedThreads(executor)
    return WrappedProcesses(executor) if isinstance(executor, ProcessPoolExecutor) else WrappedEngine(executor)


class _Follower(Future[Any]):
    """A future that ends as its leader does, but for what the engine translates."""

    def __init__(self, leader: Future[Any]) -> None:
        super().__init__()
        self.leader = leader

    def cancel(self) -> bool:
        return self.leader.cancel()  # whose callback then cancels this one

    def running(self) -> bool:
        return self.leader.running()


def _translated(error: BrokenExecutor) -> WorkerLost:
    lost = WorkerLost(f"the executor broke while it held this call: {error}")
    lost.died = lost.witnessed = True  # which of its workers died, and what that one ran, it does not say
    lost.__cause__ = error
    return lost


def _wait(futures: list[_Follower]) -> None:
    wait(futures)
