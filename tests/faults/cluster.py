"""A deployment to break: PostgreSQL, a broker, chunk workers and coordinators, each on a host of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from manifold.config import new_secret
from manifold.demo.postgres import PostgresServer
from manifold.demo.process import Child
from manifold.engines.celery import CeleryEngine
from manifold.ledger import Ledger, open_ledger
from manifold.testing.engines import until
from tests.celery.brokers import Deployment, broker_of, serves, worker_command
from tests.faults.hosts import Host, Network

Kind = Literal["rabbitmq", "redis", "processes"]
WORKERS, SLOTS = 3, 2
QUEUE = "faults"
_DISK = "size=3m"


class Worker:
    """A Celery worker: a main process and its pool, on a host of its own."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self.host = host
        self._cluster = cluster
        self._child: Child | None = None

    @property
    def folder(self) -> Path:
        """What this host has for a disk: logs and temporary files."""
        return self._cluster.folder / self.host.name

    @property
    def up(self) -> bool:
        return self._child is not None and self._child.alive()

    def start(self, more: Mapping[str, str] | None = None) -> None:
        """Start it, with more environment variables; does not wait until it serves."""
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        env = self._cluster.environment({"TMPDIR": str(self.folder / "tmp"), **(more or {})})
        command = worker_command(self.host.name, QUEUE, slots=SLOTS)
        self._child = self.host.start("worker", command, log=self.folder / "log" / "worker.log", env=env)

    def kill(self) -> None:
        """SIGKILL main process and pool at once."""
        self.host.kill()

    def main(self) -> int:
        """The id of its main process."""
        assert self._child is not None
        return self._child.pid

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP all of it, and SIGCONT at the end."""
        with frozen(self.host):
            yield


class Cluster:
    """A context manager; at its end nothing of it runs. Its hosts are those of `network`.

    Args:
        kind: the broker, or "processes" for coordinators whose workers are processes of their own host.
        silence: seconds after which a silent worker counts as dead.
    """

    def __init__(self, kind: Kind, folder: Path, network: Network, silence: float) -> None:
        self.kind = kind
        self.folder = folder
        self.network = network
        self.silence = silence
        self.coordinator, self.spare = network.host("coordinator"), network.host("spare")
        self.database, self.broker = network.host("database"), network.host("broker")
        self.postgres = PostgresServer(
            folder / "postgres", address=self.database.address, settings={"fsync": "off", "max_connections": "200"}
        )
        self._ends = ExitStack()
        if kind != "processes":
            server = broker_of(kind, folder / "broker", self.broker.address)
            self.deployment = Deployment(kind, server, folder)
            self.workers = [Worker(self, network.host(f"worker{n}")) for n in range(1, WORKERS + 1)]
        else:
            self.workers = []

    def __enter__(self) -> Self:
        self._ends.callback(self.postgres.remove)
        with self.database.entered():
            self.postgres.start()
        os.environ.setdefault("MANIFOLD_SECRET", new_secret())
        self._settings = {
            "MANIFOLD_LEDGER": self.postgres.create_database("ledger"),
            "MANIFOLD_STORE": "sql+" + self.postgres.create_database("store"),
        }
        self.ledger.close()
        if self.workers:
            self._ends.callback(self.deployment.server.stop)
            with self.broker.entered():
                self.deployment.server.start()
            for worker in self.workers:
                self._ends.callback(worker.kill)
                if self.network.apart:
                    self._ends.enter_context(small_disk(worker.folder))
            self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @property
    def store_url(self) -> str:
        return self._settings["MANIFOLD_STORE"]

    @property
    def ledger_url(self) -> str:
        return self._settings["MANIFOLD_LEDGER"]

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, from this process, which no fault touches."""
        return open_ledger(self.ledger_url, migrate=True)

    @property
    def hosts(self) -> list[Host]:
        return [self.coordinator, self.spare, self.database, self.broker, *(worker.host for worker in self.workers)]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What its processes are told."""
        if self.workers:
            return self.deployment.environment({**self._settings, **(more or {})})
        return {**os.environ, **self._settings, **(more or {})}

    def mend(self) -> None:
        """Return when every worker serves; those that are down are started anew."""
        for worker in self.workers:
            if not worker.up:
                worker.kill()
                worker.start()
        if self.workers:
            with CeleryEngine(self.deployment.app, QUEUE) as engine:
                serves(engine, len(self.workers) * SLOTS)

    # -- its servers -------------------------------------------------------------------------------------------------

    @contextmanager
    def without_broker(self) -> Iterator[None]:
        """SIGKILL the broker, and start it again at the end."""
        server = self.deployment.server
        server.kill()
        try:
            yield
        finally:
            server.stop()
            with self.broker.entered():
                server.start()

    @contextmanager
    def without_postgres(self) -> Iterator[None]:
        """Shut PostgreSQL down as "immediate" does, which is a crash; start it again at the end."""
        child = self.postgres.child
        os.kill(child.pid, signal.SIGQUIT)
        until(lambda: not child.alive(), "PostgreSQL has ended")
        try:
            yield
        finally:
            self.postgres.stop()
            with self.database.entered():
                self.postgres.start()


@contextmanager
def frozen(host: Host) -> Iterator[None]:
    """SIGSTOP all that runs on a host, and SIGCONT at the end."""
    stopped = host.processes()
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            if process.is_running():
                process.resume()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave no byte free on the small disk at `folder`."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 65_536
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def small_disk(folder: Path, size: str = _DISK) -> Iterator[None]:
    """A file system of its own at `folder`; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "manifold-tests", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
