"""Which workers get no chunks for a while, by what became of chunks there and elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from manifold.coordinator import exclusion
from manifold.coordinator.exclusion import Exclusion
from manifold.engines.threads import ThreadsEngine
from manifold.protocol.records import WorkerInfo


class Engine(ThreadsEngine):
    """Has two workers, good and bad, of two processes each."""

    def __init__(self) -> None:
        self.excluded: list[tuple[str, float, str]] = []

    def workers(self) -> list[WorkerInfo]:
        return [WorkerInfo(f"{node}:{pid}", node, pid, node=node) for node in ("good", "bad") for pid in (1, 2)]

    def exclude(self, node: str, seconds: float, why: str) -> bool:
        self.excluded.append((node, seconds, why))
        return True


class Report:
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, level: str, text: str) -> None:
        self.notices.append(text)


def receipt(worker: str, ok: int, failed: int) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(worker=worker, n_ok=ok, n_failed=failed, n_skipped=0)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def report() -> Report:
    return Report()


@pytest.fixture
def judge(engine: Engine, report: Report) -> Exclusion:
    return Exclusion(engine, report, 0.0)  # type: ignore[arg-type]


def test_a_worker_on_which_items_fail_gets_no_chunks(judge: Exclusion, engine: Engine, report: Report) -> None:
    for pid in (1, 2):
        judge.ran(receipt(f"good:{pid}", 99, 1))
        judge.ran(receipt(f"bad:{pid}", 10, 40))
    judge.look(exclusion.LOOK)
    assert [(node, seconds) for node, seconds, _ in engine.excluded] == [("bad", exclusion.FIRST)]
    assert "80% of its items failed, and 1.0% of those elsewhere" in report.notices[0]


def test_each_time_is_longer_up_to_a_limit(judge: Exclusion, engine: Engine) -> None:
    for time in range(1, 8):
        judge.ran(receipt("good:1", 1000, 0))
        judge.ran(receipt("bad:1", 0, 100))
        judge.look(time * exclusion.LOOK)
    assert [seconds for _, seconds, _ in engine.excluded] == [60, 120, 240, 480, 900, 900, 900]


def test_where_items_fail_everywhere_nobody_is_to_blame(judge: Exclusion, engine: Engine) -> None:
    judge.ran(receipt("good:1", 60, 40))
    judge.ran(receipt("bad:1", 0, 100))
    judge.look(exclusion.LOOK)
    assert not engine.excluded


def test_few_items_prove_nothing(judge: Exclusion, engine: Engine) -> None:
    judge.ran(receipt("good:1", 1000, 0))
    judge.ran(receipt("bad:1", 0, exclusion.ITEMS - 1))
    judge.look(exclusion.LOOK)
    assert not engine.excluded


def test_a_worker_where_the_function_cannot_be_set_up_gets_no_chunks(judge: Exclusion, engine: Engine) -> None:
    judge.ran(receipt("good:1", 1, 0))
    for _ in range(exclusion.REFUSED):
        judge.refused("bad:1")
    judge.look(exclusion.LOOK)
    assert [node for node, *_ in engine.excluded] == ["bad"]


def test_where_it_can_be_set_up_nowhere_nobody_is_excluded(judge: Exclusion, engine: Engine) -> None:
    for node in ("good", "bad"):
        for _ in range(10):
            judge.refused(f"{node}:1")
    judge.look(exclusion.LOOK)
    assert not engine.excluded


def test_what_was_long_ago_is_forgotten(judge: Exclusion, engine: Engine) -> None:
    judge.ran(receipt("bad:1", 0, 60))
    for time in range(1, 200):
        judge.look(time * exclusion.LOOK)
    judge.ran(receipt("good:1", 1000, 0))
    judge.look(1000 * exclusion.LOOK)
    assert not engine.excluded
    assert len(judge._records) == 1, "and no memory of processes that are gone is kept"


def test_an_engine_that_cannot_is_not_asked() -> None:
    judge = Exclusion(ThreadsEngine(1), Report(), 0.0)  # type: ignore[arg-type]
    judge.ran(receipt("bad:1", 0, 100))
    assert not judge._records
