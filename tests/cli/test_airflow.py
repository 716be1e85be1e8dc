"""`airflow manifold …`, and `manifold …` where Airflow is configured: one ledger, one store, the same connections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manifold.cli import shapes
from manifold.cli.context import in_airflow
from manifold.ledger import open_ledger
from tests.cli.test_show import made

SECRET = "k1:" + "ab" * 16


def called(*words: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of this Python's, where Airflow's home is `home`."""
    env = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **environment}
    env.pop("MANIFOLD_HOME", None)
    return subprocess.run(
        [sys.executable, "-m", *words], env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def book_url(tmp_path: Path) -> str:
    """A ledger with one scatter, which only Airflow's configuration names."""
    url = f"sqlite:///{tmp_path}/book.db"
    ledger = open_ledger(url)
    made(ledger, "known")
    ledger.close()
    return url


def test_the_commands_stand_below_airflows_own(tmp_path: Path, book_url: str) -> None:
    ran = called("airflow", "manifold", "ls", "--json", home=tmp_path, AIRFLOW__MANIFOLD__LEDGER=book_url)
    assert ran.returncode == 0, ran.stderr
    (found,) = json.loads(ran.stdout[ran.stdout.index("{") :])["scatters"]
    assert found["name"] == "known"


def test_options_and_exit_codes_pass_through_airflow(tmp_path: Path) -> None:
    taught = called("airflow", "manifold", "show", "--help", home=tmp_path)
    assert taught.returncode == 0, taught.stderr
    assert "Usage: airflow manifold show [OPTIONS]" in taught.stdout
    missing = called("airflow", "manifold", "--debug", "show", "nix", home=tmp_path)
    assert missing.returncode == 3
    assert "has no scatter nix" in missing.stderr


def test_other_commands_of_airflow_load_little_of_ours(tmp_path: Path) -> None:
    script = (
        "import sys, airflow.cli.cli_config; before = set(sys.modules); import manifold.cli.airflow as it; "
        "it.get_commands(); print(*set(sys.modules) - before)"
    )
    (tmp_path / "only.py").write_text(script)
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-m", "only"], env=env, capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) <= {"manifold", "manifold.errors", "manifold.cli", "manifold.cli.airflow"}


def test_the_settings_are_those_of_airflow(tmp_path: Path, book_url: str) -> None:
    ran = called("manifold.cli", "show", "known", "--json", home=tmp_path, AIRFLOW__MANIFOLD__LEDGER=book_url)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["name"] == "known"


def test_connections_of_the_environment_are_engines(tmp_path: Path) -> None:
    connections = {
        "AIRFLOW_CONN_MINE": '{"conn_type": "threads", "host": "2"}',
        "AIRFLOW_CONN_OTHER": '{"conn_type": "http", "host": "example.com"}',
        "AIRFLOW__MANIFOLD__DEFAULT_ENGINE": "mine",
    }
    ran = called("manifold.cli", "engines", "--json", home=tmp_path, **connections)
    assert ran.returncode == 0, ran.stderr
    (found,) = json.loads(ran.stdout)["engines"]
    assert (found["name"], found["url"], found["slots"]) == ("mine", "threads://2", 2)


def test_doctor_says_what_an_executor_of_many_hosts_lacks(tmp_path: Path) -> None:
    ran = called(
        "manifold.cli", "doctor", "--engine", "threads://1", home=tmp_path, AIRFLOW__CORE__EXECUTOR="CeleryExecutor"
    )
    assert ran.returncode == 1, ran.stderr
    assert "broken  settings: Airflow with CeleryExecutor" in ran.stdout
    assert "AIRFLOW__MANIFOLD__LEDGER=postgresql://" in ran.stdout


def test_doctor_is_content_with_what_is_configured(tmp_path: Path, postgres_url: str) -> None:
    settings = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__MANIFOLD__LEDGER": postgres_url,
        "AIRFLOW__MANIFOLD__STORE": (tmp_path / "store").as_uri(),
        "AIRFLOW__MANIFOLD__SECRET": SECRET,
    }
    migrated = called("manifold.cli", "db", "migrate", home=tmp_path, **settings)
    assert migrated.returncode == 0, migrated.stderr
    ran = called("manifold.cli", "doctor", "--engine", "processes://1", "--json", home=tmp_path, **settings)
    assert ran.returncode == 0, ran.stdout
    checks = json.loads(ran.stdout)["checks"]
    assert {one["state"] for one in checks} == {"ok"}
    assert SECRET not in ran.stdout
    assert list(checks[0]) == list(shapes.Check.__struct_fields__)


def test_what_a_redrive_asks_of_the_api_is_what_airflow_takes(tmp_path: Path) -> None:
    script = """
from airflow.api_fastapi.core_api.datamodels.task_instances import ClearTaskInstancesBody
from manifold.cli.airflow_api import Api

class Checked(Api):
    def _post(self, path, body):
        ClearTaskInstancesBody.model_validate(body)
        return {"task_instances": [{"task_id": "delay", "map_index": -1}]}

for index in (-1, 3):
    print(Checked("http://host", "token").clear(("flights", "run", "delay", index), dry_run=True))
"""
    (tmp_path / "checked.py").write_text(script)
    ran = called("checked", home=tmp_path, PYTHONPATH=str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-2:] == ["['delay']", "['delay']"]


@pytest.mark.parametrize(
    ("variable", "expected"), [("AIRFLOW_HOME", True), ("AIRFLOW__CORE__EXECUTOR", True), ("X", False)]
)
def test_airflow_counts_only_where_somebody_configured_it(
    variable: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/somewhere")
    assert in_airflow() is expected


def test_a_configuration_file_in_the_usual_place_counts(tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "airflow.cfg").touch()
    assert in_airflow()
