"""The life of a worker process: take calls off the socket, run them in the main thread, answer."""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
import time
from collections import OrderedDict
from contextlib import suppress

from manifold.engines.payload import dump_error
from manifold.engines.processes.frames import KEY, Frame, Kind, pack_result, read_frames, unpack_call
from manifold.engines.processes.status_page import StatusPage
from manifold.errors import WireError
from manifold.worker import beat, forks
from manifold.worker.beat import RunningCall

BEAT = 0.05
"""Seconds between two looks at the running call."""
OVERDUE = 70
"""Exit status of a worker that ends because an item runs past its timeout."""


class Child:
    """One worker process. `serve` returns when the coordinator has closed the socket, or after a SIGTERM.

    Args:
        descriptors: what the process holds open for as long as it lives, and its children do not.
    """

    def __init__(self, sock: socket.socket, status_page: StatusPage, descriptors: tuple[int, ...] = ()) -> None:
        self._sock = sock
        self._descriptors = descriptors
        self._status_page = status_page
        self._key = b""
        self._sending = threading.Lock()
        self._waiting: OrderedDict[int, Frame] = OrderedDict()
        self._stirred: queue.SimpleQueue[None] = queue.SimpleQueue()  # whose `put` is safe in a signal handler
        self._running: tuple[int, RunningCall] | None = None
        self._over = False

    def serve(self) -> None:
        # Ctrl-C is for the coordinator, which then ends its workers. Not SIG_IGN, which programs that items start would
        # inherit.
        signal.signal(signal.SIGINT, _ignore)
        signal.siginterrupt(signal.SIGINT, False)
        signal.signal(signal.SIGTERM, self._drain)
        forks.in_child(self._let_go)
        with forks.serving():
            self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._listen, name="manifold-listen", daemon=True).start()
        threading.Thread(target=self._beat, name="manifold-beat", daemon=True).start()
        while True:
            self._stirred.get()
            if self._over:
                return
            self._run_next()

    def _run_next(self) -> None:
        try:
            number, frame = self._waiting.popitem(last=False)
        except KeyError:
            return  # it was recalled
        self._status_page.begin(number)
        with beat.calling(str(number)) as call:
            call.report = lambda: self._status_page.report(number, call.position(), call.deadline())
            call.retire = self._retire
            self._running = number, call
            try:
                fn, args, kwargs = unpack_call(frame)
                del frame
                with forks.only_here():
                    result = fn(*args, **kwargs)
                answer = pack_result(number, result)
            except BaseException as exc:  # noqa: BLE001 - whatever a call raises is that call's outcome
                answer = Frame(Kind.ERROR, number, dump_error(exc))
            finally:
                self._running = None
        self._send(answer)

    def _send(self, frame: Frame) -> None:
        try:
            with self._sending:
                for part in frame.parts(self._key):
                    self._sock.sendall(part)
        except OSError:
            os._exit(1)  # the coordinator is gone

    def _listen(self) -> None:
        with self._sock.makefile("rb") as stream, suppress(WireError):
            self._key = stream.read(KEY)
            for frame in read_frames(stream, self._key):
                if frame.kind == Kind.CALL:
                    self._waiting[frame.call] = frame
                    self._stirred.put(None)
                elif self._waiting.pop(frame.call, None) is not None:
                    self._send(Frame(Kind.RETURNED, frame.call))
        if self._running:
            os._exit(1)  # the coordinator is gone
        self._over = True
        self._stirred.put(None)

    def _drain(self, _signal: int, _frame: object) -> None:
        self._retire()

    def _retire(self) -> None:
        self._status_page.drain()
        self._over = True
        beat.drain()
        self._stirred.put(None)

    def _let_go(self) -> None:
        """A child that an item forks holds no end of the socket: its end tells the coordinator that this process is."""
        # `close` would wait for the stream that the listening thread, which is not here, reads.
        for descriptor in (self._sock.detach(), *self._descriptors):
            with suppress(OSError):
                os.close(descriptor)
        self._status_page.close()

    def _beat(self) -> None:
        while True:
            self._status_page.beat()
            if running := self._running:
                number, call = running
                call.report()
                if beat.overdue(call):
                    self._status_page.expire(number)
                    os._exit(OVERDUE)
            time.sleep(BEAT)


def _ignore(_signal: int, _frame: object) -> None:
    """Do nothing."""
