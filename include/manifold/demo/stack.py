"""PostgreSQL, Redis, Airflow's services and two Celery workers: started, waited for, watched and ended together."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from manifold.demo import access
from manifold.demo.api import Api, ApiError
from manifold.demo.environment import PARALLELISM, TASKS, Addresses, Place, environment, variables
from manifold.demo.flights import missing
from manifold.demo.postgres import PostgresServer
from manifold.demo.process import Child, StartError, end_left_over, free_port
from manifold.demo.redis import RedisServer
from manifold.demo.screen import Screen
from manifold.demo.secrets import Secrets, write_private
from manifold.demo.signals import uninterrupted
from manifold.demo.slots import SlotWatch
from manifold.text import counted

_SERVICES = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler"],
    "dag-processor": ["dag-processor"],
    # The log servers of triggerer and workers listen on all addresses. The stack has one of its own, on this machine.
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
_WORKERS = ("worker1", "worker2")
_LOG_SERVER = "airflow.utils.serve_logs.log_server:get_app"
_USER = "admin"


class Stack:
    """The whole production shape; a context manager. `url` is Airflow's address, `ledger_url` the ledger's.

    Args:
        extra: variables of every process, before all others.
    """

    def __init__(self, place: Place, screen: Screen, extra: Mapping[str, str] | None = None) -> None:
        self._place = place
        self._screen = screen
        self._services: dict[str, Child] = {}
        self._own: dict[str, str] = {}
        self._env: dict[str, str] = {}
        self._extra = dict(extra or {})
        self.secrets = Secrets.kept(place.state / "secrets.json")
        self.ledger_url = ""
        self._port, self._logs_port = free_port(8080), free_port(8793)
        self.url = f"http://127.0.0.1:{self._port}"
        self.api = Api(self.url, _USER, self.secrets.admin)
        self.postgres = PostgresServer(
            place.state / "postgres",
            free_port(5432),
            place.logs / "postgres.log",
            password=self.secrets.postgres,
            records=place.records,
        )
        self.redis = RedisServer(
            place.state / "redis",
            free_port(6379),
            place.logs / "redis.log",
            password=self.secrets.redis,
            records=place.records,
        )
        self._slots = SlotWatch(place.logs / "scheduler.log", PARALLELISM, self.api.tasks_at_work)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return once all of it answers; raises StartError, which names what did not."""
        for name in end_left_over(self._place.records):
            self._screen.say(f"ended {name}, which an earlier start had left running")
        self._screen.waiting("PostgreSQL and Redis are starting")
        self.postgres.start()
        self.redis.start()
        self._prepare()
        self._screen.waiting("Airflow's database is being migrated")
        # Workers need Redis and no table of Airflow's: they start beside the migration, which keeps one core busy.
        for name in _WORKERS:
            self._services[name] = self._worker(name)
        self._airflow("migrate", ["db", "migrate"]).finish(seconds=300)
        for name, command in _SERVICES.items():
            self._services[name] = self._airflow(name, command)
        self._services["log-server"] = self._log_server()
        self._wait(lambda: [*self.api.unhealthy(), *self._silent_workers()], seconds=300)
        self.api.set_pool("default_pool", TASKS)  # also where an earlier version has made the database
        login = {"AIRFLOW_API_URL": self.url, "AIRFLOW_API_TOKEN": self.api.token}
        access.save(self._place, self._own | login)
        self._screen.done()

    def stop(self) -> None:
        """End everything, whatever state it is in: first what uses the servers, then the servers."""
        with uninterrupted():
            self._screen.waiting("stopping")
            access.remove(self._place)
            for child in self._services.values():
                child.ask_to_stop()
            deadline = time.monotonic() + 10
            for child in self._services.values():
                child.stop(patience=max(0.0, deadline - time.monotonic()))
            self._services.clear()
            self.redis.stop()
            self.postgres.stop()
            self._screen.done()

    def watch(self) -> None:
        """Raises StartError where a service has ended; starts a worker again, as systemd or Kubernetes would.

        A scheduler whose executor has lost its slots is started again, too.
        """
        self.postgres.child.check()
        self.redis.child.check()
        for name, child in self._services.items():
            if name in _WORKERS and not child.alive():
                self._screen.say(
                    f"{name} has ended and is started again; Airflow retries a task that it held in about a minute"
                )
                child.stop()
                self._services[name] = self._worker(name)
            else:
                child.check()
        self._free_slots()

    def wait_for(self, dag_id: str, seconds: float = 120) -> None:
        """Return once that DAG can be triggered; raises StartError where its file has errors."""
        self._wait(lambda: missing(self.api, dag_id), seconds)
        self._screen.done()

    def _prepare(self) -> None:
        self.ledger_url = self.postgres.create_database("manifold", self.secrets.ledger_database)
        at = Addresses(
            port=self._port,
            logs=self._logs_port,
            airflow=self.postgres.create_database("airflow", self.secrets.airflow_database),
            ledger=self.ledger_url,
            broker=self.redis.url(),
        )
        self._own = variables(self._place, self.secrets, at) | self._extra
        self._env = environment(self._own)
        for folder in (self._place.out, self._place.state / "airflow"):
            folder.mkdir(exist_ok=True)
        write_private(self._place.state / "airflow" / "passwords.json", json.dumps({_USER: self.secrets.admin}))

    def _worker(self, name: str) -> Child:
        pid_file = self._place.records / f"{name}.pid"
        pid_file.unlink(missing_ok=True)
        # Both serve both queues: whichever is killed, the other one goes on with coordinators and with chunks.
        options = ["--celery-hostname", name, "--queues", "default,manifold", "--pid", str(pid_file)]
        return self._airflow(name, ["celery", "worker", *options, "--without-mingle", "--skip-serve-logs"])

    def _free_slots(self) -> None:
        """Start the scheduler again where the slots of its executor are taken by tasks that have ended."""
        lost = 0
        with suppress(ApiError):  # late with an answer; the next look will do
            lost = self._slots.leaked()
        if lost:
            self._screen.say(
                f"Airflow's executor has no slot left, and holds {counted(lost, 'slot')} for tasks that have ended: "
                "their workers were killed before Celery could say so. The scheduler is started again, which frees "
                "them; tasks that run go on"
            )
            self._services["scheduler"].stop()
            self._services["scheduler"] = self._airflow("scheduler", _SERVICES["scheduler"])

    def _log_server(self) -> Child:
        # What `airflow celery worker` would start, on this machine's own address. It answers signed requests only.
        options = ["--factory", "--host", "127.0.0.1", "--port", str(self._logs_port), "--no-access-log"]
        return self._child("log-server", ["uvicorn", _LOG_SERVER, *options])

    def _airflow(self, name: str, command: list[str]) -> Child:
        return self._child(name, ["airflow", *command])

    def _child(self, name: str, command: list[str]) -> Child:
        return Child.start(
            name,
            [sys.executable, "-m", *command],
            log=self._place.logs / f"{name}.log",
            records=self._place.records,
            env=self._env,
        )

    def _silent_workers(self) -> list[str]:
        import celery

        with celery.Celery(broker=self.redis.url()) as app:
            answers = app.control.ping(timeout=0.5)
        names = {name.rpartition("@")[2] for answer in answers for name in answer}
        return [name for name in _WORKERS if name not in names]

    def _wait(self, missing: Callable[[], list[str]], seconds: float) -> None:
        """Return once nothing is missing; says meanwhile what is."""
        deadline = time.monotonic() + seconds
        while names := missing():
            for child in self._services.values():
                child.check()
            self._screen.waiting(f"waiting for {', '.join(names)}")
            if time.monotonic() > deadline:
                raise StartError(
                    f"not up after {seconds:g} s: {', '.join(names)}. Their logs are in {self._place.logs}"
                )
            time.sleep(0.2)
