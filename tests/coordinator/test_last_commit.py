"""However a try ends, what its workers had finished by then is committed, and never runs again."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import OperationalError

import manifold
from manifold import api
from manifold.abc import Monitor
from manifold.coordinator import loop, start
from manifold.errors import Cancelled, EngineError, Fenced, InputGone, LedgerUnavailable
from manifold.events import Event, Progress
from manifold.ledger import open_ledger, verify
from manifold.ledger.connection import Database
from manifold.ledger.tables import scatter
from tests.ledger.made import copied, fail_over
from tests.shared import ByReference

ITEMS, SLOTS = 60, 20
WINDOW = 2 * SLOTS  # chunks that are finished when the try ends


class AtOnce(Executor):
    """Runs each call as it is submitted, so that all of them are finished when the coordinator looks."""

    _max_workers = SLOTS

    def __init__(self, fails_at: int | None = None, submit_fails_at: int | None = None) -> None:
        self._calls = 0
        self._fails_at = fails_at
        self._submit_fails_at = submit_fails_at

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._calls += 1
        if self._calls == self._submit_fails_at:
            raise EngineError("the broker does not answer")
        future: Future[Any] = Future()
        if self._calls == self._fails_at:
            future.set_exception(EngineError("the worker cannot read the call"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


class Input:
    """Items that can be walked through again and again; at first they cannot be read to the end."""

    def __init__(self, breaks_at: int) -> None:
        self.breaks_at = breaks_at

    def __iter__(self) -> Iterator[int]:
        for item in range(ITEMS):
            if item == self.breaks_at:
                raise OSError("the disk is gone")
            yield item


class Interrupting(Monitor):
    """Ctrl-C as soon as something was sent."""

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt


class Runs:
    """How often each item ran; `at` is after how many executions something happens, and what."""

    def __init__(self, happens: Callable[[], object] = lambda: None) -> None:
        self.times: Counter[int] = Counter()
        self.at = (15, happens)

    def __call__(self, item: int) -> int:
        self.times[item] += 1
        number, happens = self.at
        if self.times.total() == number:
            happens()
        return item


def try_once(runs: Runs, items: Any = None, *, engine: Executor | None = None, **options: Any) -> manifold.Results:
    given = range(ITEMS) if items is None else items
    with ByReference(runs) as (_, proxy):
        results: manifold.Results = manifold.scatter(
            proxy, given, engine=engine or AtOnce(), scatter_id="job", chunk_size=1, monitors=(), **options
        )
        return results


def committed() -> int:
    row = open_ledger().find("job")
    assert row is not None
    assert verify(open_ledger(), row.uid) == []
    return row.done


def nothing_runs_twice(runs: Runs, items: Any = None) -> None:
    assert len(try_once(runs, items)) == ITEMS
    assert set(runs.times.values()) == {1}
    assert len(runs.times) == ITEMS


def test_a_try_that_is_stopped_keeps_what_had_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    runs = Runs(stop.set)
    with monkeypatch.context() as patch:
        patch.setattr(api, "run", partial(start.run, stop=stop))
        with pytest.raises(Cancelled, match="stopped"):
            try_once(runs)
    assert committed() == WINDOW
    nothing_runs_twice(runs)


def test_a_try_that_is_cancelled_keeps_what_had_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel() -> None:
        row = open_ledger().find("job")
        assert row is not None
        open_ledger().control(row.uid, "cancel", {}, "the test")

    runs = Runs(cancel)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_POLL_SECONDS", 0.0)
        with pytest.raises(Cancelled):
            try_once(runs)
    assert committed() == WINDOW
    nothing_runs_twice(runs)


def test_an_input_that_cannot_be_read_any_further_costs_nothing_that_had_finished() -> None:
    runs, items = Runs(), Input(breaks_at=WINDOW)
    with pytest.raises(OSError, match="the disk is gone"):
        try_once(runs, items)
    assert committed() == WINDOW
    items.breaks_at = -1
    nothing_runs_twice(runs, items)


def test_an_engine_that_takes_no_more_costs_nothing_that_had_finished() -> None:
    runs = Runs()
    with pytest.raises(EngineError, match="does not answer"):
        try_once(runs, engine=AtOnce(submit_fails_at=31))
    assert committed() == 30
    nothing_runs_twice(runs)


def test_an_answer_that_ends_the_try_takes_none_of_those_behind_it_along() -> None:
    runs = Runs()
    with pytest.raises(EngineError, match="cannot read the call"):
        try_once(runs, engine=AtOnce(fails_at=5))
    assert committed() == WINDOW - 1
    nothing_runs_twice(runs)


def test_ctrl_c_costs_nothing_that_had_finished() -> None:
    runs = Runs()
    with pytest.raises(KeyboardInterrupt), ByReference(runs) as (_, proxy):
        manifold.scatter(
            proxy, range(ITEMS), engine=AtOnce(), scatter_id="job", chunk_size=1, monitors=[Interrupting()]
        )
    assert committed() == WINDOW
    nothing_runs_twice(runs)


def test_a_coordinator_that_was_taken_over_commits_nothing_more() -> None:
    def take_over() -> None:
        taken = update(scatter).values(epoch=scatter.c.epoch + 1, owner_token="another")
        open_ledger().database.write(lambda conn: conn.execute(taken).rowcount)

    with pytest.raises(Fenced):
        try_once(Runs(take_over))
    assert committed() == 0


def test_a_ledger_that_was_waited_for_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def gone(self: Database, work: Callable[[Connection], Any], write: bool) -> Any:
        waited.append(self.patience)
        cause = sqlite3.OperationalError("the database is locked")
        cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise OperationalError("COMMIT", {}, cause)

    ledger = open_ledger(patience=0.5)
    with pytest.raises(LedgerUnavailable), monkeypatch.context() as patch:
        try_once(Runs(lambda: patch.setattr(Database, "_once", gone)), ledger=ledger)
    assert waited.count(0.0) == 1
    assert waited[-1] == 0.0, "the claim is given back in one try, after the wait"
    assert ledger.database.patience == 0.5


class FailsOver(Runs):
    """In mid-run the ledger's database goes back to what it held when the first item ran."""

    def __call__(self, item: int) -> int:
        if not self.times:
            self._copy = copied(open_ledger())
        return super().__call__(item)

    def fail_over(self) -> None:
        fail_over(open_ledger(), self._copy)


def test_a_failover_that_loses_commits_costs_what_it_lost_and_nothing_else() -> None:
    runs = FailsOver()
    runs.at = (WINDOW + 5, runs.fail_over)
    assert sorted(try_once(runs)) == list(range(ITEMS))
    assert committed() == ITEMS
    assert set(runs.times) == set(range(ITEMS))
    assert max(runs.times.values()) == 2


def test_an_iterator_whose_commits_are_lost_in_a_failover_is_asked_for_again() -> None:
    runs = FailsOver()
    runs.at = (WINDOW + 5, runs.fail_over)
    with pytest.raises(InputGone, match="lost commits in a failover"):
        try_once(runs, iter(range(ITEMS)))
    assert sorted(try_once(runs, iter(range(ITEMS)))) == list(range(ITEMS))
