from __future__ import annotations

import json
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from manifold.demo.environment import Addresses, Place, environment, variables
from manifold.demo.secrets import Secrets


def made(root: Path) -> dict[str, str]:
    place = Place(state=root / ".manifold", dags=root / "dags", plugins=root / "plugins")
    at = Addresses(
        port=8081,
        logs=8794,
        airflow="postgresql+psycopg2://airflow:a@127.0.0.1:1/airflow",
        ledger="postgresql+psycopg2://manifold:b@127.0.0.1:1/manifold",
        broker="redis://:c@127.0.0.1:2/0",
    )
    return environment(variables(place, Secrets(), at))


def test_secrets_are_made_once_all_different_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = Secrets.kept(path)
    assert Secrets.kept(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(set(asdict(first).values())) == len(asdict(first))
    assert all(value == quote(value) for name, value in asdict(first).items() if name not in ("fernet", "manifold"))
    Fernet(first.fernet)


def test_a_secret_that_an_older_file_lacks_is_added(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    known = asdict(Secrets.kept(path))
    del known["ledger_database"]
    path.write_text(json.dumps(known))
    found = asdict(Secrets.kept(path))
    assert found.items() > known.items()
    assert Secrets.kept(path) == Secrets(**found)


def test_settings_of_another_deployment_do_not_reach_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    monkeypatch.setenv("AIRFLOW__CORE__REMOTE_LOGGING", "True")
    monkeypatch.setenv("AIRFLOW_CONN_PRODUCTION", "postgresql://production")
    monkeypatch.setenv("MANIFOLD_STORE", "s3://production")
    env = made(tmp_path)
    assert env["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert "AIRFLOW__CORE__REMOTE_LOGGING" not in env
    assert "production" not in " ".join(env.values())


def test_a_proxy_is_never_asked_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "intranet.example")
    env = made(tmp_path)
    assert env["no_proxy"] == env["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"


def test_a_coordinator_cannot_take_the_last_slot_of_a_worker(tmp_path: Path) -> None:
    env = made(tmp_path)
    tasks = int(env["AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT"])
    assert tasks < int(env["AIRFLOW__CELERY__WORKER_CONCURRENCY"])


def test_slots_that_leak_leave_room_for_every_task_that_may_run(tmp_path: Path) -> None:
    env = made(tmp_path)
    tasks = int(env["AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT"])
    assert int(env["AIRFLOW__CORE__PARALLELISM"]) >= 8 * tasks


def test_the_broker_s_patience_is_chosen_so_that_no_command_warns_of_it(tmp_path: Path) -> None:
    code = "import airflow.providers.celery.executors.default_celery"
    told = subprocess.run(
        [sys.executable, "-c", code], env=made(tmp_path), capture_output=True, text=True, timeout=100, check=True
    )
    assert "visibility_timeout" not in told.stdout + told.stderr


def test_a_checkout_whose_path_has_a_space_gets_a_store_that_can_be_opened(tmp_path: Path) -> None:
    from manifold.stores import open_store

    env = made(tmp_path / "check out")
    store = open_store(env["MANIFOLD_STORE"])
    store.put("key", b"value")
    assert store.get("key") == b"value"
    store.close()
    assert (tmp_path / "check out" / ".manifold" / "store").is_dir()
