"""Where the documents' commands run: folders of their own, with nothing of this machine's configuration."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def clean(home: Path) -> dict[str, str]:
    """An environment whose commands are this Python's, and whose user has just been made."""
    foreign = ("AIRFLOW", "MANIFOLD_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"HOME": str(home), "MANIFOLD_HOME": str(home / "manifold"), "PATH": path, "COLUMNS": "200"}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return clean(tmp_path)


@pytest.fixture(scope="session")
def airflow_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An Airflow of one host, migrated. Its connection `celery_default` leads to two processes of this host."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    env = clean(home) | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_CELERY_DEFAULT": json.dumps({"conn_type": "processes", "extra": {"workers": 2}}),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    del env["MANIFOLD_HOME"]  # as it is inside Airflow: AIRFLOW_HOME/manifold
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    return env


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the DAGs read below /data: a thousand customers, of whom one is broken."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "customers").mkdir()
    rows = [f"c{n},{n % 10},{n % 50}" for n in range(1_000)]
    rows[500] = "c500,?,0"
    text = "\n".join(["id,orders,visits", *rows, ""])
    (folder / "customers" / "all.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder
