"""A worker that fails what others do gets no chunks for a while, by itself or by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import manifold
from manifold.abc import Monitor
from manifold.cli.app import app
from manifold.config import new_secret
from manifold.coordinator import exclusion
from manifold.engines._remote.engine import RemoteEngine
from manifold.events import Event
from manifold.testing.engines import until
from tests.remote.fleet import Fleet
from tests.remote.middles import fleet


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    with fleet("tcp", tmp_path, workers=1) as made:
        yield made


class Notices(Monitor):
    def __init__(self) -> None:
        self.told: list[str] = []

    def emit(self, event: Event) -> None:
        self.told.append(str(event))


def run_cli(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.output


def work(number: int) -> int:
    time.sleep(0.005)
    if "BROKEN" in os.environ:
        raise OSError("this host has no GPU")
    return number


def test_a_worker_on_which_items_fail_gets_no_chunks(running: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusion, "LOOK", 0.3)
    running.worker(1, env={**os.environ, "BROKEN": "1"})
    notices = Notices()
    with running.engine(2) as engine:
        results = manifold.scatter(work, range(2000), engine=engine, chunk_size=20, tolerate="100%", monitors=[notices])
        told = [text for text in notices.told if "gets no chunks for 60 s" in text]
        assert len(told) == 1, notices.told
        assert results.summary()["failed"] < 1000, "the other one did the rest"
        assert any("of its items failed" in worker.trouble for worker in engine.workers())


def test_the_last_worker_is_never_excluded(running: Fleet) -> None:
    with running.engine(1) as engine:
        until(engine.workers, "its process is up")
        assert not engine.exclude(engine.workers()[0].node, 60.0, "a test")
        assert engine.slots() == 1


def test_a_worker_can_be_excluded_by_hand_and_taken_back(running: Fleet) -> None:
    with running.engine(1) as engine:
        assert isinstance(engine, RemoteEngine)
        until(engine.workers, "its process is up")
        unique = engine.workers()[0].node.rpartition(".")[2]
        shown = run_cli("workers", running.url, "--exclude", unique[:8], "--seconds", "300")
        assert "takes no chunks for 300 s" in shown
        until(lambda: engine.slots() == 0, "the engine of another process knows it, too")
        assert "excluded by hand" in run_cli("workers", running.url)
        run_cli("workers", running.url, "--include", unique[:8])
        until(lambda: engine.slots() == 1, "it takes chunks again")
        assert engine.submit(pow, 2, 3).result(60) == 8
