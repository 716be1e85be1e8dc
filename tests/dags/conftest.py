"""The DAGs under a deployment of their own: one host, SQLite, this checkout's `dags/` and `plugins/`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Test = Callable[..., Path]


@pytest.fixture(scope="session")
def dags_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a deployment whose databases are migrated."""
    home = tmp_path_factory.mktemp("airflow")
    foreign = ("AIRFLOW", "MANIFOLD_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "MANIFOLD_OUT": str(home / "out"),
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    return env


@pytest.fixture
def dags_test(dags_env: dict[str, str]) -> Test:
    """Runs `airflow dags test`, and gives the folder that the DAG writes to."""

    def test(dag_id: str, **conf: Any) -> Path:
        command = [sys.executable, "-m", "airflow", "dags", "test", dag_id, "-c", json.dumps(conf)]
        log = Path(dags_env["AIRFLOW_HOME"], f"{dag_id}.log")
        with log.open("w") as file:
            env = dags_env | {"PYTHONFAULTHANDLER": "1"}
            process = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT)
        try:
            status = process.wait(200)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # every thread's stack goes into the log
            status = process.wait()
        assert status == 0, log.read_text()[-8000:]
        return Path(dags_env["MANIFOLD_OUT"])

    return test
