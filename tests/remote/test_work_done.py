"""What each worker has got, by the command that lists them."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

import manifold
from manifold.cli import shapes
from manifold.cli.app import app
from manifold.config import new_secret
from manifold.testing.engines import until
from tests.remote.middles import fleet


def slow(item: int) -> int:
    time.sleep(0.01)
    return item


def say(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_worker_is_listed_with_what_was_committed_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    with fleet("tcp", tmp_path) as served:
        with served.engine(2) as engine:
            until(lambda: len(engine.workers()) == 2, "both processes are up")
            for _ in range(2):
                manifold.scatter(slow, range(200), engine=engine, chunk_size=10)
        listed = msgspec.json.decode(say("workers", served.url, "--json"), type=shapes.EngineWorkers)
        viewed = msgspec.json.decode(say("engines", served.url, "--json"), type=shapes.Engines)
        table = say("workers", served.url)
        monkeypatch.setenv("MANIFOLD_LEDGER", f"sqlite:///{tmp_path / 'missing' / 'ledger.db'}")
        without = msgspec.json.decode(say("workers", served.url, "--json"), type=shapes.EngineWorkers)
    done = {one.worker: (one.chunks, one.items) for one in listed.workers}
    assert done == {one.worker: (one.chunks, one.items) for one in viewed.engines[0].workers}
    assert sum(chunks or 0 for chunks, _ in done.values()) == 40, "of both scatters"
    assert all(items == 10 * (chunks or 0) > 0 for chunks, items in done.values())
    assert all(f"{items}" in table for _, items in done.values())
    assert [one.chunks for one in without.workers] == [None, None]
