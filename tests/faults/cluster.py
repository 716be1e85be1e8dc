"""A deployment to break: PostgreSQL, a broker, chunk workers and coordinators, each on a host of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self

from manifold.config import new_secret
from manifold.demo.postgres import PostgresServer
from manifold.demo.process import Child
from manifold.engines.celery.engine import CeleryEngine
from manifold.ledger import Ledger, open_ledger
from manifold.testing.engines import until
from tests.celery.brokers import Deployment, broker_of, serves, worker_command
from tests.faults.hosts import Host, Network
from tests.remote.fleet import Fleet, command
from tests.remote.middles import MIDDLES

Kind = str
"""The broker of Celery workers ("rabbitmq", "redis"); "processes"; or the scheme of a transport, as in "tcp://"."""
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
        command = self._cluster.worker_command(self.host.name)
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
        self.fleet: Fleet | None = None
        if kind.endswith("://"):
            self.fleet = MIDDLES[kind.removesuffix("://")](folder / "middle", self.broker.address)
            self.fleet.start_process = self.broker.start
        elif kind != "processes":
            server = broker_of(kind, folder / "broker", self.broker.address)
            self.deployment = Deployment(kind, server, folder)
        hosts = 0 if kind == "processes" else WORKERS
        self.workers = [Worker(self, network.host(f"worker{n}")) for n in range(1, hosts + 1)]

    def __enter__(self) -> Self:
        self._ends.callback(self.postgres.remove)
        with self.database.entered():
            self.postgres.start()
        if "MANIFOLD_SECRET" not in os.environ:
            os.environ["MANIFOLD_SECRET"] = new_secret()
            self._ends.callback(os.environ.pop, "MANIFOLD_SECRET", None)
        self._settings = {
            "MANIFOLD_LEDGER": self.postgres.create_database("ledger"),
            "MANIFOLD_STORE": "sql+" + self.postgres.create_database("store"),
        }
        self.ledger.close()
        if self.workers:
            self._ends.callback(self._stop_broker)
            self._start_broker()
            for worker in self.workers:
                self._ends.callback(worker.kill)
                if self.network.apart:
                    self._ends.enter_context(small_disk(worker.folder))
            self.repair()
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
        if self.fleet is None and self.workers:
            return self.deployment.environment({**self._settings, **(more or {})})
        return {**os.environ, **self._settings, **(more or {})}

    def repair(self) -> None:
        """Return when every worker serves; those that are down are started anew."""
        for worker in self.workers:
            if not worker.up:
                worker.kill()
                worker.start()
        if self.fleet is not None:
            self.fleet.engine(WORKERS * SLOTS, queue=QUEUE).shutdown()
        elif self.workers:
            with CeleryEngine(self.deployment.app, QUEUE) as engine:
                serves(engine, WORKERS * SLOTS)

    # -- its servers -------------------------------------------------------------------------------------------------

    @property
    def engine(self) -> str:
        """What its coordinators are told to use."""
        if self.fleet is not None:
            return f"{self.fleet.url}?queue={QUEUE}&silence={self.silence:g}"
        return "celery" if self.workers else "processes://4"

    def worker_command(self, name: str) -> list[str]:
        """What is run on a worker's host."""
        if self.fleet is not None:
            return command("worker", self.fleet.url, "--queue", QUEUE, "--slots", str(SLOTS))
        return worker_command(name, QUEUE, slots=SLOTS)

    @contextmanager
    def without_broker(self) -> Iterator[None]:
        """SIGKILL the broker or hub, and start it again at the end."""
        if self.fleet is not None:
            self.fleet.kill_hub()
        else:
            self.deployment.server.kill()
        try:
            yield
        finally:
            if self.fleet is None or self.fleet.server is not None:
                self._stop_broker()
            self._start_broker()

    def _start_broker(self) -> None:
        if self.fleet is not None and self.fleet.server is None:
            self.fleet.start_hub()  # not entered: threads that a library starts to look at it would stay on that host
            return
        with self.broker.entered():
            if self.fleet is not None:
                self.fleet.start_hub()
            else:
                self.deployment.server.start()

    def _stop_broker(self) -> None:
        server = self.deployment.server if self.fleet is None else self.fleet.server
        if server is not None:
            server.stop()
        elif self.fleet is not None:
            self.fleet.close()

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
