"""The deployment, really up: its answer, who reaches what, and who may do what."""

from __future__ import annotations

import re

import pytest

from manifold.demo.api import Api, ApiError
from tests.compose.compose import ACCOUNT, Compose, docker, inspect
from tests.compose.conftest import CHUNK_WORKERS

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]


def addresses(stack: Compose, service: str) -> list[str]:
    """Where the containers of a service are in the network of the chunk workers, or in any."""
    found = []
    for one in inspect(*stack.containers(service)):
        networks = one["NetworkSettings"]["Networks"]
        found.append(networks.get(f"{stack.project}_chunks", next(iter(networks.values())))["IPAddress"])
    return found


def test_the_answer_is_right_on_three_chunk_workers_with_addresses_of_their_own(stack: Compose) -> None:
    assert len({*addresses(stack, "manifold-worker")}) == CHUNK_WORKERS
    told = stack.run("run", "--rm", "--no-deps", "-T", "demo", seconds=800).stdout
    assert ACCOUNT in told
    ran = re.findall(r"(\w+) ran ([\d,]+)", told)
    assert {host for host, _ in ran} == {container[:12] for container in stack.containers("manifold-worker")}
    assert all(count != "0" for _, count in ran)


def test_a_chunk_worker_that_is_killed_in_the_middle_changes_nothing(stack: Compose) -> None:
    victim = stack.containers("manifold-worker")[0]
    assert ACCOUNT in stack.demo(lambda: docker("kill", victim))


STORE_ROLE = """
import os, sys
import psycopg2, sqlalchemy
url = sqlalchemy.make_url(os.environ["MANIFOLD_STORE"].removeprefix("sql+"))
for database in ("manifold_store", "airflow", "celery", "manifold", "postgres", "template1"):
    for user in (url.username, "manifold", "manifold_reader", "manifold_owner", "airflow", "postgres"):
        try:
            psycopg2.connect(host=url.host, dbname=database, user=user, password=url.password, connect_timeout=5)
        except psycopg2.OperationalError:
            continue
        print(user, database)
"""


def test_a_chunk_workers_password_opens_the_store_and_neither_ledger_nor_metadata(stack: Compose) -> None:
    assert stack.python("manifold-worker", STORE_ROLE).stdout == "manifold_store manifold_store\n"


BROKER_ACCOUNT = """
import os
import kombu

def tell(what, act):
    options = {"confirm_publish": True}  # a refusal is heard before the next step
    with kombu.Connection(os.environ["AIRFLOW__CELERY__BROKER_URL"], transport_options=options) as connection:
        try:
            act(connection.channel())
        except Exception as exc:
            print(what, type(exc).__name__)
        else:
            print(what, "allowed")

tell("take", lambda channel: channel.basic_get("manifold"))
tell("answer", lambda channel: kombu.Producer(channel).publish("{}", routing_key="manifold.reply.x"))
tell("read", lambda channel: channel.basic_get("default"))
tell("purge", lambda channel: channel.queue_purge("default"))
tell("declare", lambda channel: channel.queue_declare("mine"))
tell("order", lambda channel: kombu.Producer(channel).publish("{}", exchange="celery.pidbox"))
"""


def test_a_chunk_workers_broker_account_takes_chunks_and_can_touch_nothing_of_airflows(stack: Compose) -> None:
    told = dict(line.split() for line in stack.python("manifold-worker", BROKER_ACCOUNT).stdout.splitlines())
    assert told == {
        "take": "allowed",
        "answer": "allowed",
        "read": "AccessRefused",
        "purge": "AccessRefused",
        "declare": "AccessRefused",
        "order": "AccessRefused",
    }


REACH = """
import socket, sys
for name in sys.argv[1:]:
    host, port = name.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        continue
    print(name)
"""


def test_a_chunk_worker_reaches_broker_and_store_and_nothing_else(stack: Compose) -> None:
    (api,) = addresses(stack, "api-server")
    targets = ["rabbitmq:5672", "postgres:5432", "api-server:8080", f"{api}:8080"]
    told = stack.run("exec", "-T", "manifold-worker", "python", "-", *targets, text=REACH).stdout.split()
    assert told == ["rabbitmq:5672", "postgres:5432"]


def test_what_runs_is_no_root_and_cannot_write_to_its_image(stack: Compose) -> None:
    code = "import os; print(os.getuid()); open(os.path.join(os.path.dirname(os.__file__), 'x'), 'w')"
    for service in ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "manifold-worker"):
        told = stack.python(service, code, check=False)
        assert told.stdout == "50000\n", service
        assert "Read-only file system" in told.stderr, service


def test_the_admin_of_the_generated_secret_may_log_in_and_nobody_else(
    web: str, admin: Api, secrets: dict[str, str]
) -> None:
    assert admin.unhealthy() == []
    assert admin.import_errors() == {}
    for password in ("admin", "", secrets["AIRFLOW_JWT_SECRET"]):
        with pytest.raises(ApiError, match=r"40[01]"):
            Api(web, "admin", password).import_errors()


NEW_VIEWER = """
from manifold.deploy.init import airflow
person = ["--firstname", "L", "--lastname", "L", "--email", "l@localhost"]
airflow("users", "create", "--username", "looker", "--password", "looks-only-1", "--role", "Viewer", *person)
"""


def test_a_viewer_may_look_and_may_not_trigger(stack: Compose, web: str) -> None:
    stack.python("api-server", NEW_VIEWER)
    viewer = Api(web, "looker", "looks-only-1")
    assert viewer.knows("flight_delays")
    with pytest.raises(ApiError, match="403"):
        viewer.trigger("flight_delays")


def test_no_published_port_of_the_host_but_the_web_page(stack: Compose) -> None:
    names = stack.run("ps", "--quiet").stdout.split()
    bound = [
        (one["Config"]["Labels"]["com.docker.compose.service"], port["HostIp"])
        for one in inspect(*names)
        for ports in one["NetworkSettings"]["Ports"].values()
        for port in ports or ()
    ]
    assert bound == [("api-server", "127.0.0.1")]
