"""What a function is given is there for as long as it runs, in every chunk, for its factories and what it awaits."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold import per_worker
from manifold.protocol.secrets import Secrets


@pytest.fixture(autouse=True)
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that no environment has."""
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    found = Secrets({"AIRFLOW_CONN_CRM": "crm://host"})
    monkeypatch.setattr("manifold.api.from_environment", lambda policy: found if policy.connections else Secrets())


def crm() -> str | None:
    return os.environ.get("AIRFLOW_CONN_CRM")


@pytest.mark.parametrize("engine", ["threads://2", "processes://2"])
def test_factories_and_async_items_of_every_chunk_have_it(engine: str) -> None:
    async def ask(n: int, made: str | None) -> list[str | None]:
        await asyncio.sleep(0)
        return [made, crm(), await asyncio.to_thread(crm)]

    options: dict[str, Any] = {"engine": engine, "chunk_size": 3, "consts": {"made": per_worker(crm)}}
    found = manifold.scatter(ask, range(12), connections=["crm"], **options)
    assert list(found) == [["crm://host"] * 3] * 12


@pytest.mark.parametrize("engine", ["threads://1", "processes://1"])
def test_the_next_function_in_the_same_process_does_not_have_it(engine: str) -> None:
    with manifold.open_engine(engine) as running:
        first = manifold.scatter(lambda _: crm(), range(3), engine=running, connections=["crm"])
        second = manifold.scatter(lambda _: crm(), range(3), engine=running)
        assert (set(first), set(second)) == ({"crm://host"}, {None})


def test_what_a_function_changes_of_it_changes_for_it_alone() -> None:
    def change(n: int) -> list[Any]:
        os.environ["AIRFLOW_CONN_CRM"] = "another"
        changed = crm()
        del os.environ["AIRFLOW_CONN_CRM"]
        os.environ.pop("AIRFLOW_CONN_CRM", None)
        return [changed, crm(), "AIRFLOW_CONN_CRM" in os.environ, len(os.environ) == len(list(os.environ))]

    found = manifold.scatter(change, range(4), engine="threads://1", connections=["crm"], chunk_size=1)
    assert list(found) == [["another", None, False, True]] * 4
    assert crm() is None
