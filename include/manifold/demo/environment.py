"""The environment that makes Airflow, its Celery workers and Manifold one stack."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manifold.demo.secrets import Secrets

FOREIGN = ("AIRFLOW", "CELERY_", "MANIFOLD_", "_AIRFLOW")
"""How variables begin that configure Airflow or Manifold: none of another deployment's may reach this stack."""
TASKS = 3
"""Tasks at once, by the default pool. Each worker has a slot more: even if all of these are coordinators and share one
worker, a slot is left for chunks, whichever worker is killed."""
PARALLELISM = 32
"""Slots of the executor. The pool bounds the tasks, so these are never all taken, unless slots leak (`slots`)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stack keeps its state (`.manifold/`), and whose DAGs and plugins it runs (the checkout)."""

    state: Path
    dags: Path
    plugins: Path

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.state / "logs"

    @property
    def records(self) -> Path:
        """One record for each running process."""
        return self.state / "processes"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the stack."""
        return self.state / "lock"

    @property
    def variables(self) -> Path:
        """What makes a shell one of the stack's, while it is up (`access`)."""
        return self.state / "env"

    @property
    def out(self) -> Path:
        """What the DAGs write."""
        return self.state / "out"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of the stack are: the ports of api-server and log server, the URLs of databases and broker."""

    port: int
    logs: int
    airflow: str
    ledger: str
    broker: str


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of every process of the stack: its own, and what else this process has."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**inherited, **own}


def variables(place: Place, secrets: Secrets, at: Addresses) -> dict[str, str]:
    """Return the variables that make a process one of this stack, whatever else is in its environment."""
    home = place.state / "airflow"
    settings: dict[str, dict[str, object]] = {
        "core": {
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "dags_are_paused_at_creation": "False",
            "dags_folder": place.dags,
            "default_task_retry_delay": 5,
            "execution_api_server_url": f"http://127.0.0.1:{at.port}/execution/",
            "executor": "CeleryExecutor",
            "fernet_key": secrets.fernet,
            "hostname_callable": "manifold.demo.host",
            "load_examples": "False",
            "default_pool_task_slot_count": TASKS,
            "parallelism": PARALLELISM,
            "plugins_folder": place.plugins,
            "simple_auth_manager_passwords_file": home / "passwords.json",
            "simple_auth_manager_users": "admin:admin",
        },
        "database": {
            "sql_alchemy_conn": at.airflow,
            "external_db_managers": "manifold.airflow.db.ManifoldDBManager",
        },
        "api": {
            "base_url": f"http://127.0.0.1:{at.port}",
            "host": "127.0.0.1",
            "port": at.port,
            "secret_key": secrets.api,
            "workers": 1,
        },
        "api_auth": {"jwt_secret": secrets.jwt},
        "celery": {
            "broker_url": at.broker,
            "extra_celery_config": json.dumps({"imports": ["manifold.engines.celery.worker"]}),
            "result_backend": f"db+{at.airflow}",
            "worker_concurrency": TASKS + 1,
        },
        # Airflow's own default, which it says at each command as long as nobody has chosen one.
        "celery_broker_transport_options": {"visibility_timeout": 86_400},
        "dag_processor": {
            "min_file_process_interval": 10,
            "parsing_processes": 1,
            "refresh_interval": 10,
            "stale_bundle_cleanup_interval": 0,  # one process less for each worker: our bundle has no versions
        },
        "logging": {
            "base_log_folder": home / "logs",
            # One server has the logs of all tasks: all write into the same folder.
            "trigger_log_server_port": at.logs,
            "worker_log_server_port": at.logs,
        },
        "manifold": {"default_engine": "celery_default"},
        "scheduler": {
            # A coordinator that was killed with its worker is missed after 30 s instead of 5 min.
            "task_instance_heartbeat_timeout": 30,
            "task_instance_heartbeat_timeout_detection_interval": 5,
        },
        "triggerer": {"capacity": 100},
        "usage_data_collection": {"enabled": "False"},
    }
    return {
        **{
            f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
            for section, options in settings.items()
            for name, value in options.items()
        },
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_CELERY_DEFAULT": json.dumps({"conn_type": "celery", "extra": {"queue": "manifold"}}),
        "MANIFOLD_HOME": str(place.state),
        "MANIFOLD_LEDGER": at.ledger,
        "MANIFOLD_OUT": str(place.out),
        "MANIFOLD_SECRET": secrets.manifold,
        "MANIFOLD_STORE": (place.state / "store").as_uri(),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), _no_proxy()),
    }


def _no_proxy() -> str:
    """A proxy cannot reach what listens on this machine only."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    return ",".join(filter(None, (known, "127.0.0.1", "localhost")))
