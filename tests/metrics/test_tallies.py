"""What coordinators count: written down by the way, never going down."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select

import manifold
from manifold.coordinator.counters import BUCKETS, Counters
from manifold.errors import Fenced
from manifold.ledger import Ledger, gauges, gc, open_ledger
from manifold.ledger.gauges import Living
from manifold.ledger.tables import tally
from manifold.monitors.prometheus import pending_chunks, queue_of
from manifold.redaction import without_login
from tests.ledger.made import Clock, Shelf, claimed, done, owner, receipt, sent


def tallies(ledger: Ledger) -> dict[tuple[str, str], float]:
    return gauges.read(ledger).tallies


def test_what_is_counted_is_a_sum_so_a_write_may_be_run_again(ledger: Ledger) -> None:
    claim = claimed(ledger)
    for _ in range(2):
        claim.commit(tallies={"retries": 3.0})
    claim.commit(tallies={"retries": 4.0, "lost": 1.0})
    claim.commit(tallies={})
    assert tallies(ledger) == {("processes://2", "retries"): 4, ("processes://2", "lost"): 1}


def test_each_try_counts_for_itself_and_the_engine_that_it_ran_on(ledger: Ledger) -> None:
    first = claimed(ledger)
    first.release({"retries": 4.0})
    second = ledger.acquire(first.uid, owner(2))
    second.describe(engine="celery://user:secret@manifold?silence=5")
    second.commit(tallies={"retries": 1.0})
    assert tallies(ledger) == {("processes://2", "retries"): 4, ("celery://manifold", "retries"): 1}
    with pytest.raises(Fenced):
        first.commit(tallies={"retries": 9.0})
    second.end("failed", "enough", {"retries": 2.0})
    assert tallies(ledger)["celery://manifold", "retries"] == 2


def test_a_counter_does_not_go_down_when_scatters_are_collected(ledger: Ledger) -> None:
    for name, count in (("a", 3.0), ("b", 5.0)):
        claim = claimed(ledger, name)
        claim.end("cancelled", "enough", {"lost": count})
    shelf = Shelf()
    for row in gc.retirable(ledger, -1.0):
        before = tallies(ledger)
        assert gc.retire(ledger, row, shelf).retired
        assert tallies(ledger) == before == {("processes://2", "lost"): 8}
    assert [one.state for one in ledger.scatters()] == ["replaced", "replaced"]
    assert gauges.read(ledger).stands == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("celery://", "celery://"),
        ("celery://manifold?silence=20", "celery://manifold"),
        ("dask://user:secret@scheduler:8786/x?token=abc#y", "dask://scheduler:8786/x"),
        ("ThreadPoolExecutor", "ThreadPoolExecutor"),
    ],
)
def test_an_engine_is_named_without_login_and_options(url: str, shown: str) -> None:
    assert without_login(url) == shown


def test_a_duration_falls_into_the_first_bucket_that_holds_it() -> None:
    counted = Counters()
    for seconds in (0.0, 0.01, 0.3, 0.5, 10_000.0):
        counted.observe("chunk_seconds", seconds)
    assert counted.sums == {
        "chunk_seconds:0.01": 2,
        "chunk_seconds:0.5": 2,
        "chunk_seconds:inf": 1,
        "chunk_seconds:sum": pytest.approx(10_000.81),
    }
    assert all(sorted(bounds) == list(bounds) for bounds in BUCKETS.values())


def test_a_run_of_many_items_leaves_exact_counts_and_few_rows(home: Path) -> None:
    calls: dict[int, int] = {}

    def picky(x: int) -> int:
        calls[x] = calls.get(x, 0) + 1
        if x % 100_000 == 7:
            raise ValueError(x)
        if x % 100_000 == 8:
            raise manifold.SkipItem
        if x % 100_000 == 9 and calls[x] == 1:
            raise manifold.RetryItem
        return x

    results = manifold.scatter(
        picky, range(300_000), engine="threads://2", tolerate=10, item_retries=1, monitors=[], scatter_id="picky"
    )
    ledger = open_ledger()
    found = {name: value for (_, name), value in tallies(ledger).items()}
    assert found["items:succeeded"] == 300_000 - 6
    assert found["items:failed"] == found["items:skipped"] == 3
    assert found["retries"] == 6, "each of those that fail once, and of those that fail for good, was run again"
    assert found["bytes:out"] > 300_000
    chunks = sum(value for name, value in found.items() if name.startswith("chunk_seconds:") and "sum" not in name)
    assert chunks == len(ledger.chunks(results.uid))
    assert len(found) < 30


def scatter_with(ledger: Ledger, **changes: Any) -> Living:
    claim = claimed(ledger, **changes)
    done(claim, 0, "ooof")
    done(claim, 4, "oooo")
    claim.commit(tallies={"items:succeeded": 7, "items:failed": 1, "chunk_seconds:0.5": 2, "chunk_seconds:sum": 1.0})
    sent(claim, 8, 12)
    [living] = gauges.read(ledger).living
    return living


def test_pending_chunks_are_what_is_left_by_their_size_so_far(ledger: Ledger) -> None:
    living = scatter_with(ledger, total=100)
    assert (living.in_flight, living.chunks, living.items, living.done, living.total) == (1, 2, 8, 8, 100)
    assert pending_chunks(living) == 23  # 92 items, 4 in a chunk


def test_pending_chunks_of_an_input_without_a_known_end_are_one_more_than_those_in_flight(ledger: Ledger) -> None:
    assert pending_chunks(scatter_with(ledger)) == 2


def test_a_paused_scatter_asks_for_no_workers_and_does_not_count_as_stalled(ledger: Ledger) -> None:
    living = scatter_with(ledger, total=100)
    ledger.control(living.uid, "pause", by_whom="a test")
    [living] = gauges.read(ledger).living
    assert living.paused
    assert pending_chunks(living) == 1
    ledger.control(living.uid, "resume", by_whom="a test")
    assert not gauges.read(ledger).living[0].paused


@pytest.mark.parametrize(
    ("engine", "policy", "queue"),
    [
        ("celery://manifold?silence=5", {}, "manifold"),
        ("celery://manifold", {"worker_queue": "gpu"}, "gpu"),
        ("celery://", {}, ""),
        ("processes://4", {"worker_queue": None}, ""),
        ("ThreadPoolExecutor", {}, ""),
    ],
)
def test_a_queue_is_that_of_the_engine_or_of_the_scatter(
    ledger: Ledger, engine: str, policy: dict[str, Any], queue: str
) -> None:
    assert queue_of(scatter_with(ledger, engine=engine, policy=policy)) == queue


def test_silence_is_the_time_since_the_latest_commit_or_the_claim(sqlite_ledger: Ledger) -> None:
    clock = Clock()
    ledger = Ledger(sqlite_ledger.database.engine, now=clock)
    claim = claimed(ledger)
    clock.now += 7
    assert gauges.read(ledger).living[0].silence == pytest.approx(7)
    attempt = sent(claim, 0, 4)
    claim.commit([receipt(attempt)])
    clock.now += 3
    assert gauges.read(ledger).living[0].silence == pytest.approx(3)


def test_a_scatter_whose_coordinator_is_gone_is_stopped(sqlite_ledger: Ledger) -> None:
    clock = Clock()
    ledger = Ledger(sqlite_ledger.database.engine, now=clock)
    claimed(ledger, "a")
    claimed(ledger, "b").release()
    claimed(ledger, "c").end("failed", "enough")
    assert states(ledger) == {"running": 1, "stopped": 1, "failed": 1}
    clock.now += 31
    assert states(ledger) == {"stopped": 2, "failed": 1}


def states(ledger: Ledger) -> dict[str, int]:
    return {one.state: one.scatters for one in gauges.read(ledger).stands}


def test_workers_are_counted_once_each_by_host(sqlite_ledger: Ledger) -> None:
    from manifold.protocol.records import WorkerInfo

    clock = Clock()
    ledger = Ledger(sqlite_ledger.database.engine, now=clock)
    crew = [
        WorkerInfo("a:1", "a", 1, holding=("x",)),
        WorkerInfo("a:2", "a", 2),
        WorkerInfo("b:1", "b", 1, silence=40.0),
    ]
    for name in ("first", "second"):
        claimed(ledger, name).commit(workers=crew)
    found = {one.host: (one.up, one.busy, round(one.silence)) for one in gauges.read(ledger).worker_groups}
    assert found == {"a": (2, 1, 0), "b": (0, 0, 40)}


def test_the_table_stays_small_however_many_scatters_have_ended(ledger: Ledger) -> None:
    for number in range(7):
        claim = claimed(ledger, f"one of many {number}")
        claim.commit(tallies={"lost": 1.0})
        claim.end("failed", "enough", {"lost": 2.0, "retries": 1.0})
    with ledger.database.engine.connect() as conn:
        assert conn.execute(select(func.count()).select_from(tally)).scalar_one() == 2
    assert tallies(ledger) == {("processes://2", "lost"): 14, ("processes://2", "retries"): 7}


def test_a_scrape_is_the_same_few_queries_whatever_the_size_and_scans_no_chunks(ledger: Ledger) -> None:
    engine, asked = ledger.database.engine, list[str]()
    listener = partial(_note, asked)
    event.listen(engine, "before_cursor_execute", listener)
    try:
        claimed(ledger, "first")
        asked.clear()
        gauges.read(ledger)
        few = len(asked)
        for number in range(5):
            claim = claimed(ledger, f"one of many {number}")
            for start in range(0, 20, 2):
                done(claim, start, "of")
        asked.clear()
        assert len(gauges.read(ledger).living) == 6
    finally:
        event.remove(engine, "before_cursor_execute", listener)
    assert len(asked) == few <= 10
    of_chunks = [statement for statement in asked if "FROM chunk" in statement]
    assert of_chunks
    for statement in of_chunks:
        assert "ORDER BY chunk.seq DESC" in statement, "it asks for more than the newest"
    if engine.dialect.name == "sqlite":
        filled = re.sub(r"\?", "1", of_chunks[0])
        with engine.connect() as conn:
            steps = [str(row[3]) for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {filled}")]
        assert [step for step in steps if "chunk_seq" in step]
        assert not [step for step in steps if step.startswith("SCAN chunk")]


def _note(asked: list[str], _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
    asked.append(statement)
