"""Hub or broker, and workers, of a transport, as processes on this host."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manifold.abc import Engine
from manifold.demo.process import Child, tail
from manifold.demo.server import Server
from manifold.engines.open import open_engine
from manifold.errors import EngineError
from manifold.testing.engines import until

STARTING = 60.0

Start = Callable[..., Child]
"""Starts a process: its name, its command, and `log=`, `env=` by keyword."""


class Fleet:
    """What serves the URL of a transport: a hub, or a broker, and workers.

    Args:
        url: of the engine.
        folder: for the processes' output.
        server: the broker, where there is one; without it, `manifold hub URL` is the middle. It has a `kill`, too.
    """

    def __init__(self, url: str, folder: Path, *, server: Server | None = None) -> None:
        self.url = url
        self.server: Any = server
        self.start_process: Start = self._here
        self._folder = folder
        self._children: list[Child] = []
        self._hub: Child | None = None

    def start_hub(self, env: Mapping[str, str] | None = None, url: str = "") -> None:
        """Start the middle, the first time or again. A hub can have an environment and a URL of its own."""
        if self.server is not None:
            self.server.start()
        else:
            self._hub = self._start("hub", command("hub", url or self.url), env)
            until(self._answers, f"the hub at {self.url} answers", STARTING)

    def kill_hub(self) -> None:
        """End the middle without warning."""
        middle = self.server or self._hub
        assert middle is not None
        middle.kill()

    def hub(self) -> Child:
        """Return the process of the hub."""
        assert self._hub is not None
        return self._hub

    def worker(self, slots: int = 1, *options: str, env: Mapping[str, str] | None = None) -> Child:
        """Start a worker."""
        return self._start("worker", command("worker", self.url, "--slots", str(slots), *options), env)

    def engine(self, slots: int = 1, **options: Any) -> Engine:
        """Open the engine, and wait for that many slots."""
        engine = open_engine(self.url, **options)
        until(lambda: engine.slots() >= slots, f"{slots} slots at {self.url}", STARTING)
        return engine

    def output(self) -> str:
        """What the processes have written."""
        return "\n".join(f"{child.log.name}: {tail(child.log, 20)}" for child in self._children)

    def close(self) -> None:
        """End all of it; workers are asked first."""
        for child in reversed(self._children):
            child.stop()
        if self.server is not None:
            self.server.stop()

    def _answers(self) -> bool:
        assert self._hub is not None
        assert self._hub.alive(), self.output()
        try:
            open_engine(self.url).shutdown()
        except EngineError:
            return False
        return True

    def _start(self, name: str, words: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        name = f"{name}{len(self._children)}"
        child = self.start_process(name, words, log=self._folder / f"{name}.log", env=env)
        self._children.append(child)
        return child

    def _here(self, name: str, words: Sequence[str], **options: Any) -> Child:
        return Child.start(name, words, records=self._folder / "records", **options)


def command(*words: str) -> list[str]:
    """Return the command line of a command of Manifold's."""
    return [sys.executable, "-m", "manifold.cli", *words]
