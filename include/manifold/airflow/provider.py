"""What Airflow's provider manager learns of Manifold, by the entry point `apache_airflow_provider`.

Every Airflow process calls it, so it names things by their paths and imports next to nothing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from manifold.adapter import Adapter, Connection
from manifold.registry import ENGINES

_HERE = "manifold.airflow"


def get_provider_info() -> dict[str, Any]:
    """The provider's description, in the form of Airflow's `provider_info.schema.json`."""
    return {
        "package-name": "airflow-manifold",
        "name": "Manifold",
        "description": "Scatter one task over millions of items on the engine you already run.",
        "task-decorators": [{"name": "scatter", "class-name": f"{_HERE}.decorator.scatter"}],
        "connection-types": _connection_types(),
        "db-managers": [f"{_HERE}.db.ManifoldDBManager"],
        "cli": ["manifold.cli.airflow.get_commands"],
        "extra-links": [f"{_HERE}.link.ScatterLink"],
        "config": {"manifold": {"description": "Manifold: ledger, store, secret and engine.", "options": _options()}},
    }


def _connection_types() -> list[dict[str, Any]]:
    return [
        *(_engine(row, row.connection) for row in ENGINES.rows() if row.connection),
        _connection(
            "manifold_ledger",
            "LedgerHook",
            "Manifold ledger",
            {"schema": "Database"},
            {"host": "postgres.example.com", "port": "5432", "schema": "manifold"},
            hidden=[],
        ),
        _connection(
            "manifold_store",
            "StoreHook",
            "Manifold store",
            {"host": "URL"},
            {"host": "s3://bucket/manifold"},
            hidden=["port", "schema"],
        ),
    ]


def _engine(row: Adapter, form: Connection) -> dict[str, Any]:
    labels, examples = {"host": form.host}, {"host": urlsplit(row.example).netloc}
    hidden = [field for field in ("login", "password", "port", "schema") if field not in form.fields]
    return _connection(row.connection_type, row.hook, form.hook_name, labels, examples, hidden=hidden)


def _connection(
    kind: str,
    hook: str,
    name: str,
    labels: dict[str, str],
    examples: dict[str, str],
    *,
    hidden: list[str],
) -> dict[str, Any]:
    return {
        "connection-type": kind,
        "hook-class-name": f"{_HERE}.hooks.{hook}",
        "hook-name": name,
        "ui-field-behaviour": {
            "hidden-fields": hidden,
            "relabeling": {"extra": "Options", **labels},
            "placeholders": examples,
        },
    }


def _options() -> dict[str, Any]:
    return {
        "ledger": _option(
            "SQLAlchemy URL of the ledger, or a connection id; `airflow db migrate` makes its tables.\n"
            "Without it, an executor of a single host uses SQLite in AIRFLOW_HOME; any other is refused.",
            example="postgresql://manifold:password@postgres/manifold",
            sensitive=True,
        ),
        "store": _option(
            "URL of the store for results, which every task and worker reaches, or a connection id.\n"
            "Without it, an executor of a single host uses a folder in AIRFLOW_HOME; any other is refused.",
            example="s3://bucket/manifold",
            sensitive=True,
        ),
        "secret": _option(
            "Signs what goes between tasks and workers; the same for all: id:hex[,id:hex...]; the first signs.\n"
            "`manifold doctor --new-secret` prints one.",
            example="k1:00112233445566778899aabbccddeeff",
            sensitive=True,
        ),
        "default_engine": _option(
            "The engine of scatters that name none: a URL or a connection id.\n"
            "Without it, one process for each core of the task's host.",
            example="celery_default",
        ),
    }


def _option(description: str, *, example: str, sensitive: bool = False) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": None,
        "sensitive": sensitive,
    }
