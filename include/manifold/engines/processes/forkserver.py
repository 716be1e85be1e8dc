"""The fork server: a fresh interpreter with one thread, which forks workers, says how they end, and kills them.

The standard library's would do, but for three things: it makes workers import the coordinator's `__main__` (a script
without a guard runs again; Airflow's own `__main__` as well), it refuses to work inside Celery's daemonic processes,
and its children outlive a coordinator that is killed.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from importlib import import_module
from typing import Any, NoReturn

from manifold.engines.processes.child import Child
from manifold.engines.processes.status_page import StatusPage
from manifold.worker import airflow_import

_REQUEST = struct.Struct("<BI")  # verb, worker
_REPORT = struct.Struct("<BIii")  # news, worker, process id, exit code
_BOOT = """
import json, sys
boot = json.loads(sys.argv[1])
sys.path[:], sys.argv[:] = boot["path"], boot["argv"]
from manifold.engines.processes import forkserver
getattr(forkserver, boot["entry"])(**boot["arguments"])
"""
_PRELOAD = ("manifold.worker.run",)  # so that each worker need not import it
_PATIENCE = 5.0


class Verb(IntEnum):
    """What the coordinator asks for."""

    START = 1
    KILL = 2


class News(IntEnum):
    """What the fork server reports."""

    STARTED = 1
    ENDED = 2
    FAILED = 3
    """It could not be started; the exit code is the system's error number."""


class ForkServer:
    """The coordinator's end. Workers go by numbers that the caller chooses.

    Args:
        fresh: each worker is an interpreter of its own ("spawn"), not a fork of the server.
    """

    def __init__(self, *, fresh: bool) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            command = _command("main", control=theirs.fileno(), parent=os.getpid(), fresh=fresh)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def fileno(self) -> int:
        return self._control.fileno()

    def start(self, worker: int, sock: socket.socket, status_page: int) -> None:
        """Start a worker with this end of a socket pair and this page; raises OSError where the server is gone."""
        socket.send_fds(self._control, [_REQUEST.pack(Verb.START, worker)], [sock.fileno(), status_page])

    def kill(self, worker: int) -> None:
        """End it without warning, if it lives."""
        with suppress(OSError):
            self._control.send(_REQUEST.pack(Verb.KILL, worker))

    def reports(self) -> Iterator[tuple[News, int, int, int]]:
        """What has happened: (news, worker, process id, exit code). Raises EOFError where the server is gone."""
        while True:
            try:
                report = self._control.recv(_REPORT.size, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                report = b""
            if len(report) < _REPORT.size:
                raise EOFError
            news, *rest = _REPORT.unpack(report)
            if news not in set(News):
                raise EOFError
            yield News(news), *rest

    def close(self) -> None:
        """Kill what still lives, and end the server."""
        self._control.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(*, control: int, parent: int, fresh: bool) -> None:
    """What the server's process does; each fork of it comes back from `run` and goes on as a worker."""
    airflow_import.allow()
    for name in _PRELOAD:
        import_module(name)
    gc.freeze()  # a worker's first collection would otherwise copy every page that it shares with the server
    sock, status_page = _Server(socket.socket(fileno=control), parent).run()
    if fresh:
        os.set_inheritable(sock, True)
        os.set_inheritable(status_page, True)
        command = _command("work", sock=sock, status_page=status_page)
        os.execv(command[0], command)
    work(sock=sock, status_page=status_page)


def work(*, sock: int, status_page: int) -> None:
    """What a worker's process does."""
    os.set_inheritable(sock, False)  # what the worker's code starts has no business there
    os.set_inheritable(status_page, False)
    # The original stays open until the process is gone, for its end tells the coordinator that the worker is.
    Child(socket.socket(fileno=os.dup(sock)), StatusPage(status_page), (sock, status_page)).serve()


class _Server:
    """Forks, reaps and kills."""

    def __init__(self, control: socket.socket, parent: int) -> None:
        self._control = control
        self._parent = parent
        self._workers: dict[int, int] = {}  # by process id

    def run(self) -> tuple[int, int]:
        """Serve. Returns in workers only, with their socket and page."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the server must outlive its workers; it ends with `control`
        signal.signal(signal.SIGCHLD, lambda *_: None)
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        control = self._control.fileno()
        while True:
            ready = select.select([control, woken], [], [], 1.0)[0]
            if woken in ready:
                os.read(woken, 4096)
            self._reap()
            if os.getppid() != self._parent:
                self._end()  # killed, and somebody else holds a copy of its end of `control`
            if control in ready and (mine := self._obey()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (woken, waker, self._control.detach()):
                    os.close(descriptor)
                return mine

    def _obey(self) -> tuple[int, int] | None:
        message, descriptors, _, _ = socket.recv_fds(self._control, _REQUEST.size, 2)
        if len(message) < _REQUEST.size:
            self._end()
        verb, worker = _REQUEST.unpack(message)
        if verb == Verb.KILL:
            for pid in [pid for pid, number in self._workers.items() if number == worker]:
                os.kill(pid, signal.SIGKILL)
        if verb != Verb.START or len(descriptors) != 2:
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        sock, status_page = descriptors
        try:
            pid = os.fork()
        except OSError as exc:
            self._report(News.FAILED, worker, 0, exc.errno or 0)
        else:
            if pid == 0:
                return sock, status_page
            self._workers[pid] = worker
            self._report(News.STARTED, worker, pid, 0)
        os.close(sock)
        os.close(status_page)
        return None

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._report(News.ENDED, self._workers.pop(pid), pid, os.waitstatus_to_exitcode(status))

    def _report(self, news: News, worker: int, pid: int, code: int) -> None:
        with suppress(OSError):  # the coordinator is gone, as the next read will tell
            self._control.sendall(_REPORT.pack(news, worker, pid, code))

    def _end(self) -> NoReturn:
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _command(entry: str, **arguments: Any) -> list[str]:
    """The command line of an interpreter that finds the same modules, and calls a function of this one."""
    path = [os.path.abspath(place) for place in sys.path]
    boot = {"path": path, "argv": sys.argv, "entry": entry, "arguments": arguments}
    return [sys.executable, "-P", "-c", _BOOT, json.dumps(boot)]
