"""`python -m manifold.deploy.init`: what a deployment needs before its services start. Safe to run again.

Accounts at the broker, the tables of Airflow, ledger and store, the connection `celery_default`, the admin's login.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from manifold.deploy.broker import CHUNKS, EVERYTHING, Broker
from manifold.errors import ManifoldError

_ADMIN = "admin"


def main() -> int:
    """Do it all, in an order in which each step has what it needs; the exit status."""
    try:
        for step in (accounts, tables, connection, login):
            _say(step)
            step()
    except ManifoldError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 1
    return 0


def accounts() -> None:
    """RabbitMQ's accounts."""
    broker = Broker("http://rabbitmq:15672", _ADMIN, os.environ["RABBITMQ_ADMIN_PASSWORD"])
    broker.account("airflow", os.environ["RABBITMQ_AIRFLOW_PASSWORD"], EVERYTHING)
    broker.account("chunks", os.environ["RABBITMQ_CHUNKS_PASSWORD"], CHUNKS)


def tables() -> None:
    """The tables of Airflow's metadata and of the ledger, then the store's."""
    from manifold.stores import open_store

    airflow("db", "migrate")
    open_store().close()


def connection() -> None:
    """The connection `celery_default`; one that is there stays as somebody made it."""
    try:
        airflow("connections", "get", "celery_default")
    except SystemExit:
        queue = json.dumps({"conn_type": "celery", "host": "manifold"})
        airflow("connections", "add", "celery_default", "--conn-json", queue)


def login() -> None:
    """The admin's login, with the password of the environment."""
    # In one word with its option: a password that a person chose may begin with a hyphen.
    password = ["--username", _ADMIN, f"--password={os.environ['AIRFLOW_ADMIN_PASSWORD']}"]
    person = ["--firstname", "Admin", "--lastname", "Admin", "--email", f"{_ADMIN}@localhost", "--role", "Admin"]
    airflow("users", "create", *password, *person)
    airflow("users", "reset-password", *password)


def airflow(*words: str) -> None:
    """One of Airflow's commands, in this process: no list of processes shows its arguments."""
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(words)
    arguments.func(arguments)


def _say(step: Callable[[], None]) -> None:
    sys.stdout.write(f"init: {step.__doc__}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
