"""What real runs count that goes wrong in them: lost chunks, second copies, and how they end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import manifold
from manifold import events
from manifold.abc import Monitor
from manifold.errors import TooManyFailures
from manifold.ledger import gauges, open_ledger
from tests.shared import ByReference


def counted() -> dict[str, float]:
    """By name, over all engines."""
    found: Counter[str] = Counter()
    for (_, name), value in gauges.read(open_ledger()).tallies.items():
        found[name] += value  # type: ignore[assignment]
    return dict(found)


class Killer(Monitor):
    """Kills the worker of the first chunks that are committed, and notes what is lost by that."""

    def __init__(self) -> None:
        self.killed = self.lost = 0

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.ChunkCommitted) and self.killed < 2 and event.start > 50:
            self.killed += 1
            os.kill(int(event.worker.rpartition(":")[2]), signal.SIGKILL)
        self.lost += isinstance(event, events.ChunkLost)


def slow(x: int) -> int:
    time.sleep(0.005)
    return x


def test_each_chunk_that_is_lost_is_counted(home: Path) -> None:
    killer = Killer()
    manifold.scatter(slow, range(400), engine="processes://2", monitors=[killer], chunk_size=10)
    assert killer.lost > 0
    assert counted()["lost"] == killer.lost
    assert counted()["items:succeeded"] == 400


def test_a_second_copy_counts_as_won_where_it_was_first(home: Path) -> None:
    stuck, times = threading.Event(), Counter[int]()

    def once_stuck(x: int) -> int:
        times[x] += 1
        if x == 30 and times[x] == 1:
            stuck.wait(60)
        return x

    with ByReference(once_stuck, slots=3) as (engine, proxy):
        try:
            manifold.scatter(proxy, range(60), engine=engine, chunk_size=2, speculate=True, monitors=[])
        finally:
            stuck.set()
    assert times[30] == 2
    assert counted()["speculations:won"] == 1
    assert counted()["items:succeeded"] == 60


def test_a_scatter_that_fails_has_told_what_it_had_done(home: Path) -> None:
    def broken(x: int) -> int:
        raise ValueError(x)

    with pytest.raises(TooManyFailures):
        manifold.scatter(broken, range(1000), engine="threads://1", tolerate=3, monitors=[], chunk_size=2)
    [row] = open_ledger().scatters()
    assert counted()["items:failed"] == row.n_failed > 3
