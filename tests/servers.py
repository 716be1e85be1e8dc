"""Real brokers for tests, as child processes that can be killed, cut and started again on the same port."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import redis
from kombu import Connection

from manifold.demo.process import Child, free_port
from manifold.demo.redis import RedisServer
from manifold.demo.server import LOOPBACK, Server

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The one on the PATH changes the user."""


class CuttableRedis(RedisServer):
    """Redis, whose connections can be cut."""

    def kill(self) -> None:
        """SIGKILL it."""
        self.child.kill()

    def cut(self) -> None:
        """Close every connection."""
        with redis.Redis.from_url(self.url()) as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)


class RabbitServer(Server):
    """RabbitMQ, with an Erlang port mapper of its own."""

    name = "rabbitmq"
    patience = 120.0

    def __init__(self, data: Path, address: str = LOOPBACK, settings: Mapping[str, object] | None = None) -> None:
        super().__init__(data, address=address)
        # guest comes from other hosts, too
        self._settings = {"loopback_users": "none", **(settings or {})}
        self._mapper_port, self._own_port = free_port(), free_port()
        self._mapper: Child | None = None

    def url(self) -> str:
        return f"amqp://guest:guest@{self.address}:{self.port}//"

    def kill(self) -> None:
        """SIGKILL it and its port mapper."""
        for child in (self.child, self._mapper):
            if child:
                child.kill()

    def stop(self) -> None:
        super().stop()
        if self._mapper:
            self._mapper.stop()
            self._mapper = None

    def cut(self) -> None:
        """Close every connection."""
        self.control("close_all_connections", "a test")

    def control(self, *words: str) -> str:
        """Return what `rabbitmqctl` prints."""
        command = [str(RABBITMQ.with_name("rabbitmqctl")), *words]
        done = subprocess.run(command, env=self._environment(), check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def _launch(self) -> Child:
        self.data.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} = {value}\n" for name, value in self._settings.items()]
        (self.data / "rabbitmq.conf").write_text("".join(lines))
        mapper, port = shutil.which("epmd") or "epmd", str(self._mapper_port)
        self._mapper = Child.start(
            "epmd", [mapper, "-port", port, "-address", "127.0.0.1"], log=self.data / "epmd.log", records=self.records
        )
        return Child.start(self.name, [RABBITMQ], log=self.log, records=self.records, env=self._environment())

    def _environment(self) -> dict[str, str]:
        settings = {
            "HOME": self.data,
            "ERL_EPMD_PORT": self._mapper_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.address,
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": self._own_port,
            "RABBITMQ_MNESIA_BASE": self.data / "mnesia",
            "RABBITMQ_LOG_BASE": self.data / "log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.data / "plugins",
            "RABBITMQ_CONFIG_FILE": self.data / "rabbitmq",
            "RABBITMQ_CONF_ENV_FILE": self.data / "none",
        }
        return {**os.environ, **{name: str(value) for name, value in settings.items()}}

    def _answers(self) -> bool:
        with Connection(self.url(), connect_timeout=1) as connection:
            try:
                connection.connect()
            except connection.connection_errors:
                return False
            return True
