"""Wakes a thread that waits in a selector."""

from __future__ import annotations

import socket
from contextlib import suppress


class Wakeup:
    """Register it with the selector; any thread may ring it, and the woken one calls `answer`."""

    def __init__(self) -> None:
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        return self._woken.fileno()

    def ring(self) -> None:
        with suppress(OSError):  # full: the thread is awake anyway; closed: it has ended
            self._waker.send(b"\0")

    def answer(self, _events: int) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def close(self) -> None:
        self._woken.close()
        self._waker.close()
