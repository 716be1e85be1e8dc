"""Real brokers and real Celery workers for tests, as child processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis
from celery import Celery

from manifold.demo.process import Child, kill_all
from manifold.demo.server import LOOPBACK
from manifold.engines.celery.engine import CeleryEngine
from manifold.testing.engines import until
from tests.servers import RABBITMQ, CuttableRedis, RabbitServer

AIRFLOW_APP = "airflow.providers.celery.executors.celery_executor_utils:app"
_ROOT = Path(__file__).parents[2]
_FOREIGN = ("AIRFLOW", "CELERY", "MANIFOLD_STORE", "MANIFOLD_LEDGER", "_AIRFLOW", "RABBITMQ")


def kinds() -> list[str]:
    """The brokers to test with: Redis, and RabbitMQ where it is installed or `MANIFOLD_REQUIRE` names it."""
    required = os.environ.get("MANIFOLD_REQUIRE", "").split()
    return ["redis", "rabbitmq"] if RABBITMQ.exists() or {"rabbitmq", "all"} & {*required} else ["redis"]


@dataclass
class Deployment:
    """A broker, and what Celery workers need to know to serve it."""

    kind: str
    server: CuttableRedis | RabbitServer
    folder: Path

    @property
    def app(self) -> Celery:
        """A Celery app as a coordinator has one."""
        return Celery("coordinator", broker=self.server.url(), set_as_current=False)

    def engine(self, queue: str, silence: float = 10.0) -> CeleryEngine:
        return CeleryEngine(self.app, queue, silence=silence)

    def exists(self, queue: str) -> bool:
        """The broker knows the queue."""
        if isinstance(self.server, RabbitServer):
            return self.waiting(queue) is not None
        with redis.Redis.from_url(self.server.url()) as client:
            return bool(client.keys(f"*{queue}*"))

    def waiting(self, queue: str) -> int | None:
        """How many messages the broker keeps in that queue; None where there is none."""
        with self.app.connection_for_read() as connection, suppress(*connection.channel_errors):
            return int(connection.channel().queue_declare(queue, passive=True).message_count)
        return None

    def purge(self, queue: str, messages: int) -> None:
        """Have the broker lose the messages of a queue, once there are so many."""
        until(lambda: self.waiting(queue) == messages, f"the queue {queue} has {messages} messages")
        with self.app.connection_for_write() as connection:
            connection.channel().queue_purge(queue)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What Airflow's configuration says in a worker of this deployment."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CELERY__BROKER_URL": self.server.url(),
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+sqlite:///{self.folder / 'results.db'}",
            "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps({"imports": ["manifold.engines.celery.worker"]}),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            **(more or {}),
        }

    @contextmanager
    def worker(
        self,
        name: str,
        queues: str,
        *,
        slots: int = 2,
        pool: str = "prefork",
        app: str = "tests.celery.plain:app",
        more: Mapping[str, str] | None = None,
    ) -> Iterator[CeleryWorker]:
        """A Celery worker; `more` are environment variables. Does not wait until it serves."""
        with self.run(name, worker_command(name, queues, slots=slots, pool=pool, app=app), more) as child:
            yield CeleryWorker(child)

    @contextmanager
    def run(self, name: str, command: Sequence[str | Path], more: Mapping[str, str] | None = None) -> Iterator[Child]:
        """A process of this deployment."""
        child = Child.start(
            name,
            command,
            log=self.folder / f"{name}.log",
            records=self.folder / "records",
            env=self.environment(more),
            cwd=_ROOT,
        )
        try:
            yield child
        finally:
            child.stop()


def worker_command(
    name: str, queues: str, *, slots: int = 2, pool: str = "prefork", app: str = "tests.celery.plain:app"
) -> list[str]:
    """What starts a Celery worker."""
    options = f"-Q {queues} -c {slots} -n {name}@%h -P {pool} -O fair --loglevel INFO".split()
    return [sys.executable, "-m", "celery", "-A", app, "worker", *options]


@dataclass
class CeleryWorker:
    """A Celery worker: a main process and its pool."""

    child: Child

    def kill(self) -> None:
        """SIGKILL main process and pool at once, as a host that goes down."""
        main = psutil.Process(self.child.pid)
        kill_all([main, *main.children(recursive=True)])

    def terminate(self) -> None:
        """Announce its end, as a deploy does."""
        os.kill(self.child.pid, signal.SIGTERM)

    def ended(self) -> bool:
        return not self.child.alive()


def broker_of(kind: str, data: Path, address: str = LOOPBACK) -> CuttableRedis | RabbitServer:
    """A broker of that kind, not started."""
    return CuttableRedis(data, address=address) if kind == "redis" else RabbitServer(data, address)


@contextmanager
def deployment(kind: str, folder: Path) -> Iterator[Deployment]:
    """A broker of that kind, running."""
    with broker_of(kind, folder / "broker") as server:
        yield Deployment(kind, server, folder)


def serves(engine: CeleryEngine, slots: int) -> CeleryEngine:
    """The engine, once it has that many slots."""
    until(lambda: engine.slots() == slots, f"the engine has {slots} slots")
    return engine
