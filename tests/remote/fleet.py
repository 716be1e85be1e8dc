"""Hub, broker and workers of a transport as processes on this host."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from manifold.abc import Engine
from manifold.engines.open import open_engine
from manifold.errors import EngineError
from manifold.testing.engines import until

STARTING = 60.0


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Fleet:
    """What serves the URL of a transport: a hub, where it has one, and workers.

    Args:
        url: of the engine.
        folder: for the processes' output.
        has_hub: `manifold hub URL` is its middle.
        server: whatever else is its middle, with `kill` and `start` (a broker).
    """

    def __init__(self, url: str, folder: Path, *, has_hub: bool = True, server: Any = None) -> None:
        self.url = url
        self.server = server
        self._folder = folder
        self._has_hub = has_hub
        self._processes: list[subprocess.Popen[bytes]] = []
        self._hub: subprocess.Popen[bytes] | None = None

    def start_hub(self) -> None:
        """Start the middle, the first time or again."""
        if self._has_hub:
            self._hub = self._start("hub", self.url)
            until(self._answers, f"the hub at {self.url} answers", STARTING)
        elif self.server is not None:
            self.server.start()

    def kill_hub(self) -> None:
        """End the middle without warning."""
        if self._hub is not None:
            self._hub.kill()
            self._hub.wait()
        else:
            self.server.kill()

    def worker(self, slots: int = 1, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self._start("worker", self.url, "--slots", str(slots), *options, env=env)

    def engine(self, slots: int = 1, **options: Any) -> Engine:
        """Open the engine, and wait for that many slots."""
        engine = open_engine(self.url, **options)
        until(lambda: engine.slots() >= slots, f"{slots} slots at {self.url}: {self.output()}", STARTING)
        return engine

    def output(self) -> str:
        """What the processes have written."""
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in sorted(self._folder.glob("*.log")))

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                end(process)

    def _answers(self) -> bool:
        assert self._hub is not None
        assert self._hub.poll() is None, self.output()
        try:
            open_engine(self.url).shutdown()
        except EngineError:
            return False
        return True

    def _start(self, command: str, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        number = len(self._processes)
        with (self._folder / f"{number}-{command}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "manifold.cli", command, *words], stdout=log, stderr=log, env=env
            )
        self._processes.append(process)
        return process


def end(process: subprocess.Popen[bytes], sign: int = signal.SIGTERM, within: float = 30.0) -> None:
    """Ask a process to end, and end it with its children where it does not."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(sign)
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        if child.is_running():
            child.kill()
