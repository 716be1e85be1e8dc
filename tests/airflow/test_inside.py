"""Airflow inside items, on the engines of the task's host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import manifold


def inside(n):
    import airflow
    from airflow.models import Connection
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk import BaseHook

    return [PostgresHook.conn_type, Connection.__name__, issubclass(PostgresHook, BaseHook)]


if __name__ == "__main__":
    from airflow.sdk.execution_time.supervisor import block_orm_access

    block_orm_access()  # as a task's process does before it runs anything of the author's
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn")) if sys.argv[1] == "pool" else None
    results = manifold.scatter(inside, range(3), engine=pool or sys.argv[1], tolerate=3)
    print(json.dumps([list(results), [one.message for one in results.failures()]]))
"""


@pytest.mark.parametrize("engine", ["processes://1", "processes://1?start=spawn", "pool"])
def test_an_item_may_import_airflow_where_the_tasks_process_hides_the_database(engine: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_OPERATORS_VIRTUAL_ENV_MODE"}
    env |= {"MANIFOLD_HOME": str(tmp_path / "manifold")}
    ran = subprocess.run(
        [sys.executable, str(script), engine], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == [[["postgres", "Connection", True]] * 3, []]
