"""docker-compose.yml under a project name, secrets and a port of the tests' own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ACCOUNT = "336,776 succeeded, 0 failed, 0 skipped, 0 without outcome; of 336,776 items"
"""What the demo says at its end where nothing is wrong."""
# Nothing of whoever runs the tests may choose other files, projects, profiles or settings.
_FOREIGN = ("AIRFLOW", "MANIFOLD_", "COMPOSE_", "POSTGRES_", "RABBITMQ_", "LEDGER_", "STORE_", "CELERY_", "WEB_")


class Compose:
    """`docker compose` for one project.

    Args:
        env_file: the `.env` that it reads.
        files: the compose files, the first one first.
        settings: variables that win over `env_file`.
    """

    def __init__(
        self,
        project: str,
        env_file: Path,
        *,
        files: Sequence[str] = ("docker-compose.yml",),
        settings: dict[str, str] | None = None,
    ) -> None:
        self.project = project
        self.env_file = env_file
        self.settings = settings or {}
        named = [word for file in files for word in ("--file", str(ROOT / file))]
        self._command = ["docker", "compose", "--project-name", project, "--env-file", str(env_file), *named]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        self._environment = inherited | self.settings

    def run(
        self, *words: str, check: bool = True, seconds: float = 600, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """The command, ended; with `check`, an AssertionError shows what it said where it failed."""
        done = subprocess.run(
            [*self._command, *words],
            cwd=ROOT,
            env=self._environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The command, running; its output is one stream of lines."""
        return subprocess.Popen(
            [*self._command, *words],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def demo(self, in_the_middle: Callable[[], object]) -> str:
        """What the demo prints, while `in_the_middle` is done as soon as the first items have their outcomes.

        Raises AssertionError where it fails, or is over before.
        """
        lines, done = [], False
        with self.start("run", "--rm", "--no-deps", "-T", "demo") as running:
            assert running.stdout is not None
            try:
                for line in running.stdout:
                    lines.append(line)
                    if not done and re.search(r"[1-9][\d,]* of [\d,]+ items", line):
                        in_the_middle()
                        done = True
            except BaseException:
                running.send_signal(signal.SIGINT)  # which ends its container, too
                raise
        told = "".join(lines)
        assert running.returncode == 0, told
        assert done, f"it was over before anything could happen\n{told}"
        return told

    def config(self, *profiles: str) -> dict[str, Any]:
        """What Compose makes of the files."""
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        return dict(json.loads(self.run(*chosen, "config", "--format", "json").stdout))

    def containers(self, service: str) -> list[str]:
        """The ids of a service's running containers."""
        return self.run("ps", "--quiet", "--status", "running", service).stdout.split()

    def python(self, service: str, code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Python code, run in a container of that service."""
        return self.run("exec", "-T", service, "python", "-", check=check, text=code, seconds=120)


def docker(*words: str) -> None:
    """The command, which must go well."""
    subprocess.run(["docker", *words], check=True, capture_output=True, text=True)


def inspect(*containers: str) -> list[dict[str, Any]]:
    """What Docker knows of these containers."""
    told = subprocess.run(["docker", "inspect", *containers], capture_output=True, text=True, check=True)
    return list(json.loads(told.stdout))
