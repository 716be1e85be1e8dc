"""A dead worker process costs only the chunks it held; a poison item is found and quarantined alone."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

import manifold
from manifold import events
from manifold.abc import Monitor
from manifold.errors import EngineError
from manifold.ledger import open_ledger, verify


class Deaths(Monitor):
    def __init__(self) -> None:
        self.lost: list[tuple[int, int]] = []

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.ChunkLost):
            self.lost.append((event.start, event.stop))


def poison(x: int) -> int:
    if x in (333, 334, 700):
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_poison_items_are_quarantined_alone_and_all_others_succeed() -> None:
    deaths = Deaths()
    results = manifold.scatter(
        poison, range(1000), engine="processes://2", tolerate=3, monitors=[deaths], scatter_id="job", chunk_size=128
    )
    assert list(results) == [x for x in range(1000) if x not in (333, 334, 700)]
    failures = list(results.failures())
    assert [failure.position for failure in failures] == [333, 334, 700]
    assert {failure.type for failure in failures} == {"manifold.errors.PoisonItem"}
    assert [failure.item for failure in failures] == [333, 334, 700]
    # Two a level for each (they lie in three chunks, or parts of one), and what is excused as a mass loss.
    assert len(deaths.lost) <= 3 * (2 * 7 + 2) + 3 * 2 * 2
    ledger = open_ledger()
    row = ledger.find("job")
    assert row is not None
    assert verify(ledger, row.uid) == []


def test_a_worker_killed_from_outside_costs_no_item() -> None:
    def slow(x: int) -> tuple[int, int]:
        time.sleep(0.01)
        return x, os.getpid()

    class Killer(Monitor):
        killed = 0

        def emit(self, event: events.Event) -> None:
            if isinstance(event, events.ChunkCommitted) and self.killed < 3 and event.start > 50:
                self.killed += 1
                os.kill(int(event.worker.rpartition(":")[2]), signal.SIGKILL)

    killer = Killer()
    results = manifold.scatter(slow, range(600), engine="processes://2", monitors=[killer], chunk_size=10)
    assert [x for x, _ in results] == list(range(600))
    assert killer.killed == 3
    assert len(Counter(pid for _, pid in results)) >= 3


def test_an_item_past_its_timeout_fails_and_its_neighbours_do_not() -> None:
    def sleepy(x: int) -> int:
        if x == 5:
            time.sleep(60)
        return x

    results = manifold.scatter(sleepy, range(20), engine="processes://2", item_timeout=0.5, tolerate=1, chunk_size=10)
    assert list(results) == [x for x in range(20) if x != 5]
    (failure,) = results.failures()
    assert failure.type == "manifold.errors.ItemTimeout"


def test_an_item_that_never_returns_to_the_interpreter_is_ended_too() -> None:
    def stuck(x: int) -> int:
        if x == 5:
            sum(range(10**11))  # minutes within one call of C code, which looks at no signal
        return x

    results = manifold.scatter(stuck, range(10), engine="processes://2", item_timeout=0.5, tolerate=1, chunk_size=10)
    assert list(results) == [x for x in range(10) if x != 5]
    (failure,) = results.failures()
    assert failure.type == "manifold.errors.ItemTimeout"


def test_an_executor_of_the_callers_that_breaks_for_good_ends_the_try_and_the_next_continues() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(EngineError, match="broken"):
        manifold.scatter(poison, range(340), engine=pool, tolerate=3, scatter_id="broken", chunk_size=10)
    row = open_ledger().find("broken")
    assert row is not None
    assert row.done >= 320
    results = manifold.scatter(poison, range(340), engine="processes://1", tolerate=3, scatter_id="broken")
    assert len(results) == 338
