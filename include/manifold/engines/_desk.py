"""Calls on workers elsewhere: who holds which, and what becomes of it when that worker is gone.

Two kinds of engines stand on it: those whose workers we start ourselves (`_remote`), and those of a cluster that tells
us when a worker is gone (`dask`). An adapter writes `pack`, `hand`, `stop` and `finish`; it calls `seen`, `gone`,
`begun`, `settle` and `lost`, from any thread.
"""

from __future__ import annotations

import threading
import time
import uuid
from abc import abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from manifold.abc import Engine
from manifold.engines._balance import Balance, balance
from manifold.engines._calls import Node, Sent, worker_name
from manifold.errors import ConfigError, Unpicklable, WorkerLost
from manifold.protocol.records import WorkerInfo

__all__ = ["Desk", "Node", "Sent", "worker_name"]

FORGOTTEN = 60.0
"""Seconds without a sign of life after which a worker is not listed any more."""
HANDED = 3
"""Workers that may be lost before they had begun a call, until the call fails."""


class Desk(Engine):
    """Keeps calls until a worker has room, hands each to one worker, and fails it when that worker is gone.

    Args:
        silent: seconds without a sign of life after which a worker gets no more calls. That it is gone, and its calls
            with it, is said by the adapter alone.
        balance: "least-busy", "round-robin" or "random".
    """

    def __init__(self, *, silent: float = 5.0, balance_by: str = "least-busy") -> None:
        self._lock = threading.RLock()
        self._waiting: deque[Sent] = deque()
        self._held: dict[str, Sent] = {}
        self._nodes: dict[str, Node] = {}
        self._excluded: dict[str, tuple[float, str]] = {}  # until when, and why
        self._silent = silent
        self._balance: Balance = balance(balance_by)
        self._shut = False
        self._over = threading.Event()
        self._finished = threading.Event()

    # What an adapter writes

    @abstractmethod
    def pack(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return the call as bytes; raises what pickling raises."""

    @abstractmethod
    def hand(self, call: Sent) -> None:
        """Send the call to `call.node`, which has room. At once: it is called under the lock."""

    @abstractmethod
    def stop(self, call: Sent) -> None:
        """End the process that runs the call. Best effort, at once."""

    @abstractmethod
    def finish(self) -> None:
        """End what the engine started: nothing is in flight, and nothing will be."""

    def clock(self) -> float:
        """Return seconds in which workers could be heard."""
        return time.monotonic()

    # What an adapter calls

    def seen(self, name: str, node: Node) -> None:
        """Note a sign of life of a worker."""
        with self._lock:
            node.at = now = self.clock()
            node.handed = self._nodes[name].handed if name in self._nodes else 0
            self._nodes[name] = node
            for old in [old for old, one in self._nodes.items() if now - one.at > FORGOTTEN]:
                del self._nodes[old]
                self._excluded.pop(old, None)
        self.pump()

    def begun(self, call_id: str, worker: str, position: int | None, *, overdue: bool = False) -> None:
        """Note that a process runs the call, and how many of its items are done."""
        with self._lock:
            if (call := self._held.get(call_id)) is not None:
                call.worker, call.position, call.overdue = worker, position, overdue

    def gone(self, name: str, why: str, *, witnessed: bool = False) -> None:
        """Note that a worker died (its host lives, if `witnessed`): calls that had begun fail, others go elsewhere."""
        with self._lock:
            self._nodes.pop(name, None)
            calls = [call for call in self._held.values() if call.node == name]
        for call in calls:
            self.drop(call.id, why, witnessed=witnessed)

    def drop(self, call_id: str, why: str, *, witnessed: bool = False) -> None:
        """Note that the worker which held the call does so no longer, whatever became of it."""
        if (call := self._take(call_id)) is None:
            return
        if call.worker is None and call.handed < HANDED:
            self._return(call, why)
            return
        started = call.worker is not None
        died = started and not call.excused
        self._fail(call, why, started=started, died=died, overdue=call.overdue, witnessed=witnessed)

    def lost(self, call_id: str, why: str, **known: Any) -> None:
        """Note that the process which ran the call has ended, as the worker says; `known` are fields of WorkerLost."""
        if (call := self._take(call_id)) is not None:
            self._fail(call, why, witnessed=True, **known)

    def again(self, call_id: str) -> None:
        """Note that a worker has given the call back without having begun it."""
        if (call := self._take(call_id)) is not None:
            call.handed -= 1
            self._return(call, f"{call.node} has given it back")

    def settle(self, call_id: str, ok: bool, load: Callable[[], Any]) -> None:
        """End the call with the result or the exception that `load` returns; it runs a user's code."""
        if (call := self._take(call_id)) is None:
            return
        try:
            value = load()
        except Exception as exc:  # noqa: BLE001 - unpickling runs a user's code
            ok, value = False, exc
        (call.future.set_result if ok else call.future.set_exception)(value)
        self.pump()

    def held(self) -> list[Sent]:
        """Return the calls that workers hold."""
        with self._lock:
            return list(self._held.values())

    def pump(self) -> None:
        """Hand out what waits; see whether the end has come."""
        with self._lock:
            self._forget_cancelled()
            room = self._room()
            while self._waiting and (name := self._balance(room)) is not None:
                call = self._waiting.popleft()
                if not call.future.running() and not call.future.set_running_or_notify_cancel():
                    continue
                room[name] -= 1
                self._nodes[name].handed += 1
                call.node, call.handed, call.worker, call.position = name, call.handed + 1, None, None
                self._held[call.id] = call
                self.hand(call)
            if self._shut and not self._held and not self._waiting and not self._over.is_set():
                self._over.set()
                threading.Thread(target=self._end, name="manifold-end", daemon=True).start()

    # The contract of an engine

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = Sent(uuid.uuid4().hex, Future())
        try:
            call.message = self.pack(fn, args, kwargs)
        except ConfigError:
            raise
        except Exception as exc:  # noqa: BLE001 - pickling runs a user's code
            call.future.set_exception(Unpicklable(f"the call of {fn!r} cannot be pickled: {exc}"))
        with self._lock:
            if self._shut:
                raise RuntimeError("this engine is shut down; open another one")
            if not call.future.done():
                self._waiting.append(call)
        self.pump()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._shut = True
            waiting = list(self._waiting) if cancel_futures else []
        for call in waiting:
            call.future.cancel()
        self._give_up(waiting)
        self.pump()
        if wait:
            self._finished.wait()

    def slots(self) -> int:
        return sum(node.slots for node in self._live().values())

    def workers(self) -> list[WorkerInfo]:
        now = self.clock()
        holding: defaultdict[str | None, list[Sent]] = defaultdict(list)
        with self._lock:
            for call in self._held.values():
                holding[call.worker].append(call)
            nodes = list(self._nodes.items())
        return [
            WorkerInfo(
                worker,
                node.host,
                pid,
                silence=now - node.at,
                holding=tuple(call.id for call in holding[worker]),
                alive=now - node.at <= self._silent,
                node=name,
                done=sum(call.position or 0 for call in holding[worker]),
                trouble=self._trouble(name, node, now),
            )
            for name, node in nodes
            for pid in node.pids
            for worker in [worker_name(node.host, pid)]
        ]

    def kill(self, future: Future[Any]) -> None:
        if future.cancel():
            self.pump()
            return
        with self._lock:
            self._give_up([call for call in self._waiting if call.future is future])
        for call in self.held():
            if call.future is future:
                call.excused = call.unwanted = True
                self.stop(call)

    def exclude(self, node: str, seconds: float, why: str) -> bool:
        with self._lock:
            if not self._live().keys() - {node}:
                return False  # somebody has to run the rest
            self._excluded[node] = self.clock() + seconds, why
            return True

    # Within

    def _room(self) -> dict[str, int]:
        """Return how many calls more each live worker takes."""
        room = {name: node.slots for name, node in self._live().items()}
        for call in self._held.values():
            if call.node in room:
                room[call.node] -= 1
        return room

    def _forget_cancelled(self) -> None:
        if any(call.future.cancelled() for call in self._waiting):
            cancelled = [call for call in self._waiting if call.future.cancelled()]
            self._waiting = deque(call for call in self._waiting if not call.future.cancelled())
            for call in cancelled:
                call.future.set_running_or_notify_cancel()

    def _return(self, call: Sent, why: str) -> None:
        """Have another worker run a call that had not begun, unless it was told to end."""
        if call.unwanted:
            self._fail(call, why)
            return
        with self._lock:
            call.excused = False
            self._waiting.appendleft(call)
        self.pump()

    def _give_up(self, calls: list[Sent]) -> None:
        """Fail those that wait again after a worker had them: their futures run, so none can be cancelled."""
        with self._lock:
            calls = [call for call in calls if call in self._waiting and call.future.running()]
            for call in calls:
                self._waiting.remove(call)
        for call in calls:
            self._fail(call, "the call was given up before it began")

    def _end(self) -> None:
        try:
            self.finish()
        finally:
            self._finished.set()

    def _take(self, call_id: str) -> Sent | None:
        with self._lock:
            return self._held.pop(call_id, None)

    def _live(self) -> dict[str, Node]:
        with self._lock:
            now = self.clock()
            return {
                name: node
                for name, node in self._nodes.items()
                if now - node.at <= self._silent and not self._trouble(name, node, now)
            }

    def _trouble(self, name: str, node: Node, now: float) -> str:
        """Return why a worker that lives gets no calls; "" where it does."""
        until, why = self._excluded.get(name, (0.0, ""))
        return node.trouble or (why if now < until else "")

    def _fail(self, call: Sent, why: str, **known: Any) -> None:
        """Fail the call; what `known` does not say of its process is what it last reported."""
        error = WorkerLost(f"{why} (call {call.id})")
        for name, value in ({"worker": call.worker, "position": call.position} | known).items():
            setattr(error, name, value)
        call.future.set_exception(error)
        self.pump()
