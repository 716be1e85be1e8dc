"""A Dask scheduler and workers as processes on this host."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from manifold.demo.process import Child, free_port, tail
from manifold.demo.server import LOOPBACK
from manifold.engines.dask import DaskEngine
from manifold.testing.engines import until
from tests.remote.fleet import STARTING


class DaskCluster:
    """A scheduler on a free port, and the workers that were started.

    Args:
        folder: for the processes' output and the workers' files.
        tls: the options of a URL that speaks TLS; empty: no TLS.
    """

    def __init__(self, folder: Path, tls: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        self._tls = dict(tls or {})
        self._children: list[Child] = []
        self._scheduler: Child | None = None

    @property
    def url(self) -> str:
        query = f"?{urlencode(self._tls)}" if self._tls else ""
        return f"dask://{LOOPBACK}:{self.port}{query}"

    @property
    def address(self) -> str:
        """The scheduler's, as Dask writes it."""
        return f"{'tls' if self._tls else 'tcp'}://{LOOPBACK}:{self.port}"

    def start_scheduler(self) -> None:
        """Start it, the first time or again."""
        words = ("--host", LOOPBACK, "--port", str(self.port), "--dashboard-address", f"{LOOPBACK}:0")
        self._scheduler = self._start("scheduler", *words)
        until(lambda: self._says("Scheduler at:"), "the scheduler listens", STARTING)

    def kill_scheduler(self) -> None:
        """End it without warning."""
        assert self._scheduler is not None
        self._scheduler.kill()

    def worker(self, *options: str, threads: int = 1, env: Mapping[str, str] | None = None) -> Child:
        """Start a worker process, with a nanny unless `options` say otherwise."""
        words = ("--host", LOOPBACK, "--nthreads", str(threads), "--local-directory", str(self._folder))
        quiet = ("--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0")
        return self._start("worker", self.address, *words, *quiet, *options, env=env)

    def engine(self, slots: int = 1, **options: Any) -> DaskEngine:
        """Open the engine, and wait for that many slots."""
        engine = DaskEngine.from_url(self.url, **options)
        until(lambda: engine.slots() >= slots, f"{slots} slots: {engine.check()}\n{self.output()}", STARTING)
        return engine

    def output(self) -> str:
        """What the processes have written."""
        return "\n".join(f"{child.log.name}: {tail(child.log, 20)}" for child in self._children)

    def close(self) -> None:
        """End all of it, the workers first."""
        for child in reversed(self._children):
            child.stop()

    def _says(self, words: str) -> bool:
        assert self._scheduler is not None
        assert self._scheduler.alive(), self.output()
        return words in self._scheduler.log.read_text(errors="replace")

    def _start(self, command: str, *words: str, env: Mapping[str, str] | None = None) -> Child:
        names = {"tls_ca": "--tls-ca-file", "tls_cert": "--tls-cert", "tls_key": "--tls-key"}
        tls = [f"{names[option]}={path}" for option, path in self._tls.items()]
        name = f"{command}{len(self._children)}"
        line = [sys.executable, "-m", "dask", command, *words, *tls]
        child = Child.start(name, line, log=self._folder / f"{name}.log", records=self._folder / "records", env=env)
        self._children.append(child)
        return child


@contextmanager
def dask_cluster(folder: Path, *, workers: int = 2, tls: Mapping[str, str] | None = None) -> Iterator[DaskCluster]:
    """A scheduler, and workers of one thread each."""
    cluster = DaskCluster(folder, tls)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.worker()
        yield cluster
    finally:
        cluster.close()
