"""The DAG that looks whether everything is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from manifold.config import new_secret
from tests.celery.brokers import deployment
from tests.dags.conftest import Test


def result(log: str, kind: str) -> str:
    found = re.findall(rf"Returned value was: ({{'{kind}': .*?}})", log)
    assert found, log[-3000:]
    return str(found[-1])


def test_an_item_goes_through_the_engine_and_a_value_through_the_store(
    dags_test: Test, dags_env: dict[str, str]
) -> None:
    dags_test("cluster_health", engine="threads://2")
    log = Path(dags_env["AIRFLOW_HOME"], "cluster_health.log").read_text()
    assert re.search(r"'engine': 'threads://2', 'host': '.+', 'hosts': \['.+'\], 'seconds': \d", result(log, "engine"))
    assert re.search(r"'store': 'file:///.*', 'seconds': \d", result(log, "store"))


CODE = """
import json, sys
from manifold.airflow import health
from manifold.errors import EngineError
print(health.engines(), health.stores())
told = health.through_engine("celery://manifold")
try:
    sys.stdout.write(json.dumps(told))
    health.Variable.get = lambda name, **_: [told["host"], "worker-9"] if name == "manifold_hosts" else []
    health.through_engine("celery://manifold")
except EngineError as exc:
    sys.stderr.write(f"refused: {exc}")
"""


@pytest.mark.parametrize("workers", [1, 0])
def test_a_host_that_is_gone_is_named(workers: int, tmp_path: Path) -> None:
    """Run as a task is: in a process that has Airflow's configuration, with its variables in the environment."""
    shared = {"MANIFOLD_HOME": str(tmp_path / "home"), "MANIFOLD_SECRET": new_secret()}
    more = {
        **shared,
        "AIRFLOW_CONN_BIG": json.dumps({"conn_type": "processes", "host": "1"}),
        "AIRFLOW_VAR_MANIFOLD_HOSTS": json.dumps([]),
        "AIRFLOW_VAR_MANIFOLD_ENGINES": json.dumps(["celery://gpu"]),
        "AIRFLOW_VAR_MANIFOLD_STORES": json.dumps(["memory://"]),
        "AIRFLOW__MANIFOLD__DEFAULT_ENGINE": "celery://manifold",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    }
    with ExitStack() as stack:
        broker = stack.enter_context(deployment("redis", tmp_path))
        if workers:
            stack.enter_context(broker.worker("chunks", "manifold", more=shared))
        command, env = [sys.executable, "-c", CODE], broker.environment(more)
        told = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=200)
    if workers:
        assert "['celery://manifold', 'big', 'celery://gpu'] ['default', 'memory://']" in told.stdout, told.stderr
        assert f'"hosts": ["{os.uname().nodename}"]' in told.stdout
        assert "refused: worker-9 gave celery://manifold no sign of life" in told.stderr
    else:
        assert "celery://manifold runs nothing: no Celery worker answers" in told.stderr
        assert "airflow celery worker -q manifold" in told.stderr
