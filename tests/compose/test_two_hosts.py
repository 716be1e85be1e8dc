"""Chunk workers of another host: a project of their own, which shares no network with the deployment."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.compose import ACCOUNT, ROOT, Compose, inspect

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def address() -> str:
    """Where other networks of this Docker reach the host, and nobody outside of it."""
    told = subprocess.run(["docker", "network", "inspect", "bridge"], capture_output=True, text=True, check=True)
    subnet = json.loads(told.stdout)[0]["IPAM"]["Config"][0]["Subnet"]
    return str(next(ipaddress.ip_network(subnet).hosts()))  # the bridge's own; not every Docker tells it as such


@pytest.fixture(scope="module")
def certificates(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run([ROOT / "deploy" / "tls" / "make", address, folder], check=True, capture_output=True)
    folder.parent.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def main_host(stack: Compose, address: str, certificates: Path) -> Iterator[Compose]:
    """The deployment with broker and store published, by TLS, and without chunk workers of its own. It ends with this
    module, the last one: its network is known to these files only, and there can be but one of it."""
    main = Compose(
        stack.project,
        stack.env_file,
        files=("docker-compose.yml", "deploy/compose.hosts.yml"),
        settings=stack.settings | {"HOSTS_BIND": address, "TLS_FOLDER": str(certificates)},
    )
    try:
        # This runs `init` a second time, too, against what the first time made.
        main.run("up", "--detach", "--wait", "--scale", "manifold-worker=0")
        yield main
    finally:
        main.run("--profile", "*", "down", "--volumes", "--timeout", "10", check=False)


@pytest.fixture(scope="module")
def worker_host(
    main_host: Compose,
    address: str,
    certificates: Path,
    secrets: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Compose]:
    """What docs/production.md tells a worker's host to have: three secrets, the address, the image and ca.crt."""
    only = tmp_path_factory.mktemp("ca")
    (only / "ca.crt").write_text((certificates / "ca.crt").read_text())
    env = only / ".env"
    given = ("RABBITMQ_CHUNKS_PASSWORD", "STORE_PASSWORD", "MANIFOLD_SECRET")
    env.write_text("".join(f"{name}={secrets[name]}\n" for name in given))
    host = Compose(
        f"{main_host.project}-workers",
        env,
        files=("deploy/compose.workers.yml",),
        settings={"MAIN_HOST": address, "IMAGE": main_host.settings["IMAGE"], "TLS_FOLDER": str(only)},
    )
    try:
        host.run("up", "--detach", "--wait", "--scale", "manifold-worker=2")
        yield host
    except BaseException:
        print(host.run("logs", "--tail", "40", check=False).stdout[-10_000:])
        raise
    finally:
        host.run("down", "--volumes", "--timeout", "10", check=False)


def test_all_items_run_on_the_other_host(main_host: Compose, worker_host: Compose) -> None:
    told = main_host.run("run", "--rm", "--no-deps", "-T", "demo", seconds=800).stdout
    assert ACCOUNT in told
    hosts = {host for host, _ in re.findall(r"(\w+) ran ([\d,]+)", told)}
    assert hosts == {container[:12] for container in worker_host.containers("manifold-worker")}


PLAIN = """
import os, sys
import kombu, psycopg2, sqlalchemy
url = sqlalchemy.make_url(os.environ["MANIFOLD_STORE"].removeprefix("sql+"))
where = {"host": url.host, "user": url.username, "password": url.password}
for database, mode in (("manifold_store", "disable"), ("manifold", "require"), ("airflow", "require")):
    try:
        psycopg2.connect(dbname=database, sslmode=mode, connect_timeout=5, **where)
    except psycopg2.OperationalError as exc:
        print("refused" if "pg_hba.conf rejects" in str(exc) else exc)
try:
    kombu.Connection(os.environ["AIRFLOW__CELERY__BROKER_URL"], connect_timeout=5).connect()
except Exception as exc:
    print("refused")
"""


def test_without_tls_nobody_gets_in_from_outside_and_with_it_only_into_the_store(worker_host: Compose) -> None:
    assert worker_host.python("manifold-worker", PLAIN).stdout.split() == ["refused"] * 4


def test_only_broker_and_store_are_published_besides_the_web_page(main_host: Compose, address: str) -> None:
    ports = [
        (port["HostIp"], name)
        for one in inspect(*main_host.run("ps", "--quiet").stdout.split())
        for name, bound in one["NetworkSettings"]["Ports"].items()
        for port in bound or ()
    ]
    assert sorted(ports) == [("127.0.0.1", "8080/tcp"), (address, "5432/tcp"), (address, "5671/tcp")]
