"""The deployment of docker-compose.yml: brought up once for all tests of this folder, taken down with its volumes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifold.demo.api import Api
from manifold.demo.process import free_port
from manifold.deploy import env
from tests.compose.compose import ROOT, Compose

CHUNK_WORKERS = 3


@pytest.fixture(scope="session")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.env` with secrets of its own."""
    path = tmp_path_factory.mktemp("compose") / ".env"
    env.write(path, (ROOT / ".env.example").read_text())
    return path


@pytest.fixture(scope="session")
def secrets(env_file: Path) -> dict[str, str]:
    """What that `.env` says."""
    lines = [line for line in env_file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="session")
def compose(env_file: Path) -> Compose:
    """`docker compose` for the project of the tests; nothing runs yet."""
    port = str(free_port())
    settings = {"WEB_PORT": port, "WEB_URL": f"http://127.0.0.1:{port}", "IMAGE": "manifold:test"}
    return Compose(f"manifold-test-{os.getpid()}", env_file, settings=settings | {"AIRFLOW_HOST_LOST": "30"})


@pytest.fixture(scope="session")
def stack(compose: Compose) -> Iterator[Compose]:
    """The deployment, up and healthy, with three chunk workers."""
    answers = subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    if not answers:
        pytest.fail("no Docker answers; `make test` runs the tests that need none")
    try:
        compose.run("up", "--detach", "--wait", "--scale", f"manifold-worker={CHUNK_WORKERS}", seconds=1200)
        yield compose
    except BaseException:
        sys.stderr.write(compose.run("ps", "--all", check=False).stdout)
        sys.stderr.write(compose.run("logs", "--tail", "40", check=False).stdout[-20_000:])
        raise
    finally:
        compose.run("--profile", "*", "down", "--volumes", "--timeout", "10", check=False)


@pytest.fixture(scope="session")
def web(stack: Compose) -> str:
    """The address of the web page, by the published port."""
    return f"http://{stack.run('port', 'api-server', '8080').stdout.strip()}"


@pytest.fixture(scope="session")
def admin(web: str, secrets: dict[str, str]) -> Api:
    """Airflow's API as the admin whom `init` made."""
    return Api(web, "admin", secrets["AIRFLOW_ADMIN_PASSWORD"])
