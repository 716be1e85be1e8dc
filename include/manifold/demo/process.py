"""Child processes that are known by name, log into one file each, and end with who started them.

- Each leads a session of its own: Ctrl-C in the terminal reaches only the starter, and `stop` reaches every
  descendant, also those whose parent is gone.
- Each is on record in a file {pid, start time}. After a `kill -9` of the starter, `end_left_over` ends what runs on,
  and nothing else: a process that merely has the same number started at another time.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from manifold.demo import die_with_parent
from manifold.demo.secrets import write_private
from manifold.errors import ManifoldError


class StartError(ManifoldError):
    """A process of the stack did not start, or ended by itself; the message has the last lines of its log."""


class Child:
    """One running process and its descendants. Start it from a thread that lasts: the process ends with that thread."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path, record: Path, stop_signal: int) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._record = record
        self._stop_signal = stop_signal

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        records: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str = "",
        stop_signal: int = signal.SIGTERM,
    ) -> Child:
        """The child, running, with its output in `log`; what `records` knows under its name is ended first."""
        log.parent.mkdir(parents=True, exist_ok=True)
        records.mkdir(parents=True, exist_ok=True)
        record = records / f"{name}.json"
        _end_recorded(record)
        prefix = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), str(int(stop_signal)), user]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        started = psutil.Process(process.pid).create_time()  # exists, even if it has ended: nobody waited for it
        write_private(record, json.dumps({"pid": process.pid, "started": started}))
        return cls(name, process, log, record, stop_signal)

    @property
    def pid(self) -> int:
        """Its process id, which is the id of its session, too."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def succeeded(self) -> bool:
        """Whether it has ended, with status 0."""
        return self._process.poll() == 0

    def check(self) -> None:
        """Raises StartError, with the end of the log, if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise StartError(f"{self.name} ended with status {code}. The end of {self.log}:\n{tail(self.log)}")

    def finish(self, seconds: float) -> None:
        """Wait for a process that ends by itself; raises StartError where it fails or takes longer."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self.stop()
        if code != 0:
            ended = f"failed with status {code}" if code is not None else f"did not end within {seconds:g} s"
            raise StartError(f"{self.name} {ended}. The end of {self.log}:\n{tail(self.log)}")

    def ask_to_stop(self) -> None:
        """Send its stop signal; does not wait."""
        if self.alive():
            self._process.send_signal(self._stop_signal)

    def stop(self, patience: float = 10.0) -> None:
        """End it and all its descendants: politely, and after `patience` seconds by SIGKILL."""
        family = _family(self.pid) if self.alive() else []
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        kill_all({*family, *_family(self.pid)})
        self._process.wait()
        self._record.unlink(missing_ok=True)

    def family(self) -> list[psutil.Process]:
        """It, if it lives, its descendants, and whoever else is in its session."""
        return _family(self.pid)

    def kill(self) -> None:
        """SIGKILL it and all its descendants at once, as a host does that goes down."""
        family = self.family()
        self._process.kill()
        self._process.wait()  # before anybody else asks how it ended, for that can be told once only
        kill_all({*family, *self.family()})
        self._record.unlink(missing_ok=True)


def end_left_over(records: Path) -> list[str]:
    """End what an earlier start left running, by the records in that folder; the names of what was ended."""
    return [record.stem for record in sorted(records.glob("*.json")) if _end_recorded(record)]


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    with suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL each that is still itself, and wait until all are gone."""
    processes = list(processes)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def wait_until(ready: Callable[[], bool], child: Child, seconds: float) -> None:
    """Return once `ready()`; raises StartError where the child ends first, or is not ready in so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        child.check()
        if time.monotonic() > deadline:
            raise StartError(
                f"{child.name} is not ready after {seconds:g} s. The end of {child.log}:\n{tail(child.log)}"
            )
        time.sleep(0.05)


def free_port(wanted: int | None = None) -> int:
    """`wanted` if nobody listens there on 127.0.0.1, otherwise any free port."""
    with socket.socket() as probe:
        # As servers do: a connection that only lingers does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])


def _end_recorded(record: Path, patience: float = 5.0) -> bool:
    """End the process of that record and its descendants; whether there were any."""
    if not record.exists():
        return False
    known = json.loads(record.read_text())
    family = _left_over(known["pid"], known["started"])
    if family:
        # The first is the leader, if it lives: a server that is asked first has no recovery to do later.
        with suppress(psutil.Error):
            family[0].terminate()
        _, alive = psutil.wait_procs(family, timeout=patience)
        kill_all([*alive, *_left_over(known["pid"], known["started"])])
    record.unlink()
    return bool(family)


def _left_over(leader: int, started: float) -> list[psutil.Process]:
    family = _family(leader)
    if family and family[0].pid == leader and abs(_born(family[0]) - started) > 1:
        return []  # the number was given to somebody else's process
    return [process for process in family if _born(process) >= started - 1]


def _born(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(process.create_time())
    return 0.0


def _family(leader: int) -> list[psutil.Process]:
    """The leader, if it lives, then its descendants and whoever else is in its session."""
    found: dict[int, psutil.Process] = {}
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(leader)
        if process.status() != psutil.STATUS_ZOMBIE:
            found[leader] = process
        found |= {child.pid: child for child in process.children(recursive=True)}
    for pid in psutil.pids():
        with suppress(OSError, psutil.NoSuchProcess):
            if pid not in found and pid != leader and os.getsid(pid) == leader:
                found[pid] = psutil.Process(pid)
    return list(found.values())
