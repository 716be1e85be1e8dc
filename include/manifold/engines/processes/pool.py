"""The workers of one engine, and the thread that feeds them."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from itertools import count

from manifold.engines.processes.backlog import Backlog
from manifold.engines.processes.forkserver import ForkServer, News
from manifold.engines.processes.frames import Frame, Kind, Link
from manifold.engines.processes.status_page import StatusPage
from manifold.engines.processes.wakeup import Wakeup
from manifold.engines.processes.worker import Call, Worker
from manifold.errors import EngineError, WireError, WorkerLost
from manifold.protocol.records import WorkerInfo

_log = logging.getLogger(__name__)

DEPTH = 2
"""Calls that a worker holds: the one it runs, and the next, so that it does not wait for the coordinator."""
TICK = 0.25
"""Seconds between two looks at the status pages of the workers."""
GRACE = 2.0
"""Seconds that a worker has to end by itself, where it should."""
REMEMBERED = 60.0
"""Seconds for which a worker that is gone is still listed."""
BAD_STARTS = 5
"""Workers in a row that ended before they came up, after which no more are started."""


class WorkerPool:
    """`size` worker processes, each replaced when it ends.

    Everything but `add`, `stop`, `close` and `info` happens in one thread, which alone touches workers and sockets.

    Args:
        fresh: each worker is an interpreter of its own, not a fork of the fork server.
    """

    def __init__(self, size: int, *, fresh: bool) -> None:
        self.size = size
        self._fresh = fresh
        self.backlog = Backlog()
        self._unwanted: deque[Call] = deque()
        self._workers: dict[int, Worker] = {}
        self._gone: deque[tuple[float, WorkerInfo]] = deque(maxlen=max(16, size))
        self._numbers = count(1)
        self._bad_starts = 0
        self._next_start = 0.0
        self._next_look = 0.0
        self._selector = selectors.DefaultSelector()
        self._wakeup = Wakeup()
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._wakeup.answer)
        self._server = self._new_server()
        self._thread = threading.Thread(target=self._run, name="manifold-pool", daemon=True)
        self._thread.start()

    def add(self, call: Call) -> None:
        """Queue a call. Raises RuntimeError after `close`."""
        self.backlog.add(call)
        self._wakeup.ring()

    def stop(self, call: Call) -> None:
        """Give up a call, and end the process that runs it."""
        call.unwanted = True
        self._unwanted.append(call)
        self._wakeup.ring()

    def close(self, *, wait: bool, cancel: bool) -> None:
        """Take no more calls, and end the workers after the last one; `cancel` drops those that wait."""
        self.backlog.close(cancel=cancel)
        self._wakeup.ring()
        if wait:
            self._thread.join()

    def info(self) -> list[WorkerInfo]:
        """The workers, and for a minute those that are gone."""
        recent = time.monotonic() - REMEMBERED
        gone = [info for at, info in list(self._gone) if at > recent]
        return [worker.info() for worker in list(self._workers.values()) if worker.pid] + gone

    def places(self) -> list[tuple[Call, tuple[str, int | None]]]:
        """The calls that run: each one's worker, and how many of its items are done."""
        found = []
        for worker in list(self._workers.values()):
            with suppress(ValueError):  # its status page was closed since
                if (call := worker.running()) is not None:
                    found.append((call, (worker.name, worker.status_page.position(call.number))))
        return found

    def terminate(self) -> None:
        """Send every worker a SIGTERM: it ends its call after the item at hand, and itself."""
        for worker in list(self._workers.values()):
            with suppress(ProcessLookupError):
                if worker.pid:
                    os.kill(worker.pid, signal.SIGTERM)

    # The thread's loop

    def _run(self) -> None:
        try:
            while not self._finished():
                for key, events in self._selector.select(TICK):
                    key.data(events)
                self._look()
                self._start_missing()
                self._feed()
            self._dismiss()
        except Exception as exc:  # noqa: BLE001 - a caller who waits for a future must not wait for ever
            _log.exception("the thread that feeds worker processes failed")
            self._break(f"a fault of Manifold's own, which its log shows: {exc!r}")
        finally:
            self._server.close()
            for worker in self._workers.values():
                worker.link.close()
            self._selector.close()
            self._wakeup.close()

    def _finished(self) -> bool:
        return self.backlog.closed and not self.backlog and not any(one.held for one in self._workers.values())

    def _look(self) -> None:
        while self._unwanted:
            self._give_up(self._unwanted.popleft())
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + TICK
        for worker in self._workers.values():
            worker.look(now)
            if worker.must_go(now, GRACE):
                self._kill(worker)

    def _feed(self) -> None:
        """Hand out what waits; where nothing does, let a worker without a call have the spare one of another."""
        ready = [worker for worker in self._workers.values() if worker.takes_calls()]
        while ready and self.backlog:
            # Idle ones take turns: else a process that fails whatever it gets, at once, would get whatever comes.
            worker = min(ready, key=lambda one: (len(one.held), one.latest))
            if len(worker.held) >= DEPTH:
                return
            self._hand(worker)
        idle = sum(not worker.held for worker in ready)
        for worker in self._workers.values():
            if idle and len(worker.held) > 1:
                self._recall(worker)
                idle -= 1

    def _hand(self, worker: Worker) -> None:
        call = self.backlog.take()
        if call is None:
            return
        if call.unwanted:
            call.fail(WorkerLost("the call was given up before it began"))
            return
        assert call.frame is not None
        worker.held[call.number] = call
        worker.latest = call.number
        self._send(worker, call.frame)

    def _recall(self, worker: Worker) -> None:
        if (spare := worker.spare()) is not None:
            self._send(worker, Frame(Kind.RECALL, spare))

    def _send(self, worker: Worker, frame: Frame) -> None:
        if not worker.link.send(frame):
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(worker.link, both, partial(self._heard, worker))

    def _give_up(self, call: Call) -> None:
        for worker in self._workers.values():
            if call.number in worker.held:
                if worker.running() is call:
                    self._kill(worker)
                else:
                    self._recall(worker)

    # Workers come and go

    def _new_server(self) -> ForkServer:
        server = ForkServer(fresh=self._fresh)
        self._selector.register(server, selectors.EVENT_READ, self._read_reports)
        return server

    def _start_missing(self) -> None:
        while len(self._workers) < self.size and self.backlog.broken is None and time.monotonic() >= self._next_start:
            try:
                self._start()
            except OSError as exc:
                self._count_bad_start(f"a worker process cannot be started: {exc}")

    def _start(self) -> None:
        number = next(self._numbers)
        status_page, descriptor = StatusPage.new()
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._server.start(number, theirs, descriptor)
        finally:
            os.close(descriptor)
        worker = self._workers[number] = Worker(number, Link(ours), status_page)
        self._selector.register(worker.link, selectors.EVENT_READ, partial(self._heard, worker))

    def _heard(self, worker: Worker, events: int) -> None:
        """The socket of a worker has something to read, or room to write."""
        if worker.number not in self._workers:
            return  # it was removed since the selector said so
        if events & selectors.EVENT_WRITE and worker.link.flush():
            self._selector.modify(worker.link, selectors.EVENT_READ, partial(self._heard, worker))
        try:
            self._take_answers(worker)
        except (EOFError, WireError) as exc:
            if isinstance(exc, WireError):
                _log.warning("worker %s is ended: %s", worker.name, exc)
            worker.hung_up = True
            self._forget(worker.link)
            self._server.kill(worker.number)  # dead, as a rule; what closed its socket and lives on is of no use

    def _take_answers(self, worker: Worker) -> None:
        for frame in worker.link.received():
            call = worker.held.pop(frame.call, None)
            if call is None:
                continue
            if frame.kind == Kind.RETURNED:
                worker.recalled = 0
                self.backlog.take_back(call)
            else:
                call.settle(frame)

    def _read_reports(self, _events: int) -> None:
        try:
            for news, number, pid, code in self._server.reports():
                if (worker := self._workers.get(number)) is None:
                    continue
                if news == News.STARTED:
                    worker.pid = pid
                elif news == News.FAILED:
                    self._remove(worker, 0, f"a worker process cannot be started: {os.strerror(code)}")
                else:
                    self._remove(worker, code, "worker processes end before they come up; their output says why")
        except EOFError:
            self._lose_server()

    def _lose_server(self) -> None:
        """Without the server nobody reaps or kills: its workers go with it, and a new one is started."""
        self._forget(self._server)
        self._server.close()
        for worker in list(self._workers.values()):
            if worker.pid:
                with suppress(OSError):
                    os.kill(worker.pid, signal.SIGKILL)
            self._remove(worker, -signal.SIGKILL, "the fork server ends before it has started a worker")
        if not self._finished():
            self._server = self._new_server()

    def _kill(self, worker: Worker) -> None:
        worker.killed = True
        self._server.kill(worker.number)

    def _remove(self, worker: Worker, code: int, reason: str) -> None:
        """A worker has ended: its last answers count, the call that it ran fails, those it had not begun wait again."""
        with suppress(EOFError, WireError):
            self._take_answers(worker)
        self._forget(worker.link)
        worker.link.close()
        del self._workers[worker.number]
        self._gone.append((time.monotonic(), worker.info(alive=False)))
        running = worker.running()
        for call in reversed(worker.held.values()):
            if call is running:
                call.fail(worker.loss(code))
            else:
                self.backlog.take_back(call)
        worker.held.clear()
        if worker.came_up():
            self._bad_starts = 0
        else:
            self._count_bad_start(reason)
        worker.status_page.close()

    def _count_bad_start(self, reason: str) -> None:
        self._bad_starts += 1
        self._next_start = time.monotonic() + TICK * min(self._bad_starts, 20)
        if self._bad_starts >= BAD_STARTS and not self._workers:
            self._break(reason)

    def _break(self, reason: str) -> None:
        """Give up: nothing that was submitted, or will be, can run."""
        self.backlog.fail(reason)
        for worker in self._workers.values():
            for call in worker.held.values():
                call.fail(EngineError(reason))
            worker.held.clear()

    def _dismiss(self) -> None:
        """Let the workers end by themselves, with their exit handlers; the fork server kills those that do not."""
        for worker in self._workers.values():
            self._forget(worker.link)
            worker.link.close()
        end = time.monotonic() + GRACE
        while self._workers and time.monotonic() < end:
            for key, events in self._selector.select(TICK):
                key.data(events)

    def _forget(self, registered: Link | ForkServer) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(registered)
