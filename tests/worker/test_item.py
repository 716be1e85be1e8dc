"""`manifold.item()`: a function knows which item it is at work on, whatever runs it and however often."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.errors import ConfigError
from manifold.worker.current import Item, as_item

ENGINES = ["threads://2", "processes://2"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))


def told(_: int) -> Item:
    return manifold.item()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1, 7, None])
def test_each_item_knows_its_position_and_a_key_of_its_own(engine: str, size: int | None) -> None:
    results = manifold.scatter(told, range(100, 140), engine=engine, chunk_size=size, key=lambda n: f"no. {n}")
    found = list(results)
    assert [one.position for one in found] == list(range(40))
    assert [one.key for one in found] == [f"no. {n}" for n in range(100, 140)]
    assert [one.idempotency_key for one in found] == [f"{results.uid}-{n}" for n in range(40)]
    assert {one.attempt for one in found} == {1}


@pytest.mark.parametrize("engine", ENGINES)
def test_retries_are_counted_and_keep_the_idempotency_key(engine: str, tmp_path: Path) -> None:
    def twice(n: int) -> tuple[int, str]:
        me = manifold.item()
        with (tmp_path / f"{n}").open("a") as file:
            file.write(f"{me.attempt} {me.idempotency_key}\n")
        if n % 2 and me.attempt < 3:
            raise ConnectionError(n)
        return me.attempt, me.idempotency_key

    results = manifold.scatter(twice, range(10), engine=engine, item_retries=2, chunk_size=5)
    assert [attempt for attempt, _ in results] == [1, 3] * 5
    for n, (attempts, key) in enumerate(results):
        lines = (tmp_path / f"{n}").read_text().splitlines()
        assert lines == [f"{attempt} {key}" for attempt in range(1, attempts + 1)]


def test_a_redrive_on_another_engine_in_other_chunks_has_the_same_idempotency_keys(tmp_path: Path) -> None:
    def once_broken(n: int) -> str:
        key = manifold.item().idempotency_key
        file = tmp_path / f"{n}"
        if not file.exists() and n % 3 == 0:
            file.write_text(key)
            raise ConnectionError(n)
        return key

    options: dict[str, Any] = {"scatter_id": "keys", "tolerate": 10}
    first = manifold.scatter(once_broken, range(20), engine="threads://2", chunk_size=20, **options)
    assert first.n_failed == 7
    again = manifold.scatter(once_broken, range(20), engine="processes://1", chunk_size=1, **options)
    assert list(again) == [f"{again.uid}-{n}" for n in range(20)]
    for n in range(0, 20, 3):
        assert (tmp_path / f"{n}").read_text() == f"{again.uid}-{n}"


@pytest.mark.parametrize("engine", ENGINES)
def test_async_items_know_themselves_though_they_run_together(engine: str) -> None:
    async def both(n: int) -> tuple[int, int, int]:
        before = manifold.item()
        await asyncio.sleep(0.001 * (n % 5))
        if n % 4 == 0 and before.attempt == 1:
            raise ConnectionError(n)
        in_thread = await asyncio.to_thread(manifold.item)
        assert in_thread == manifold.item() == before
        return n, before.position, before.attempt

    results = list(manifold.scatter(both, range(40), engine=engine, item_retries=1, chunk_size=20))
    assert results == [(n, n, 2 if n % 4 == 0 else 1) for n in range(40)]


def test_it_is_refused_outside_of_an_item_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match="pass its answer as an argument"):
        manifold.item()
    with as_item(position=3) as me:
        assert told(0) is me
        assert me.idempotency_key == "test-3"
