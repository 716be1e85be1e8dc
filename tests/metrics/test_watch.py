"""Engines with workers elsewhere, as the exporter watches them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from manifold.adapter import Adapter, Form
from manifold.ledger import Ledger
from manifold.monitors import watch
from manifold.monitors.prometheus import LedgerCollector
from manifold.monitors.watch import EngineWatch, Seen
from manifold.protocol.records import WorkerInfo
from manifold.registry import ENGINES
from manifold.testing.engines import until
from tests.ledger.made import claimed
from tests.metrics.far import FarEngine

URL = "far://me:secret@broker/queue?x=1"
NAME = "far://broker/queue"


@pytest.fixture(autouse=True)
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FarEngine]]:
    monkeypatch.setitem(ENGINES.entries, "far", Adapter("far", "tests.metrics.far:FarEngine", (Form("far://", ""),)))
    monkeypatch.setattr(watch, "_EVERY", 0.02)
    monkeypatch.setattr(FarEngine, "there", True)
    monkeypatch.setattr(FarEngine, "crew", [WorkerInfo("a:1", "a", 1), WorkerInfo("a:2", "a", 2)])
    monkeypatch.setattr(FarEngine, "made", [])
    yield FarEngine
    assert all(engine.over for engine in FarEngine.made)


def up(seen: Seen) -> dict[str, int]:
    return {one.host: one.up for one in seen.worker_groups}


def test_only_engines_with_workers_elsewhere_are_watched() -> None:
    with closing(EngineWatch(["threads://2", "processes://2", "nonsense", URL])) as watched:
        assert list(watched.seen()) == [NAME]


def test_a_host_without_workers_stays_in_the_figures_with_none(far: type[FarEngine]) -> None:
    with closing(EngineWatch([URL])) as watched:
        until(lambda: watched.seen()[NAME].reachable, "it is reached")
        assert up(watched.seen()[NAME]) == {"a": 2}
        far.crew = [WorkerInfo("b:1", "b", 1), WorkerInfo("a:1", "a", 1, silence=31.0)]
        until(lambda: up(watched.seen()[NAME]) == {"a": 0, "b": 1}, "host a has none")


def test_an_engine_that_is_gone_is_not_reachable_until_it_is_back(far: type[FarEngine]) -> None:
    with closing(EngineWatch([URL])) as watched:
        until(lambda: watched.seen()[NAME].reachable, "it is reached")
        far.there = False
        until(lambda: not watched.seen()[NAME].reachable, "it is gone")
        assert up(watched.seen()[NAME]) == {"a": 0}
        far.there = True
        until(lambda: watched.seen()[NAME].reachable, "it is back")
    assert len(far.made) == 2


def test_who_is_busy_comes_from_the_coordinators_and_who_is_up_from_the_engine(sqlite_ledger: Ledger) -> None:
    heard = [WorkerInfo("a:1", "a", 1, holding=("x",)), WorkerInfo("z:1", "z", 1)]
    claimed(sqlite_ledger, engine=URL).commit(workers=heard)
    claimed(sqlite_ledger, "other", engine="threads://1").commit(workers=[WorkerInfo("me:1", "me", 1)])
    with closing(EngineWatch([URL])) as watched:
        until(lambda: watched.seen()[NAME].reachable, "it is reached")
        families = {one.name: one for one in LedgerCollector(lambda: sqlite_ledger, watched).collect()}
    told = {
        name: {tuple(one.labels.values()): one.value for one in families[name].samples}
        for name in ("manifold_worker_up", "manifold_worker_busy", "manifold_engine_slots")
    }
    assert told["manifold_worker_up"] == {(NAME, "a"): 2, ("threads://1", "me"): 1}
    assert told["manifold_worker_busy"] == {(NAME, "a"): 1, ("threads://1", "me"): 0}
    assert told["manifold_engine_slots"] == {(NAME,): 2}
