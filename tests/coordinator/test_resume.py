"""A retry continues with what is missing, and says so when input or code changed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.abc import Monitor
from manifold.errors import CodeChanged, InputGone, ItemsChanged, ScatterBusy, TooManyFailures
from manifold.events import Event, Notice
from manifold.ledger import Owner, open_ledger, verify
from manifold.sources import lines
from tests.shared import ByReference


class Counting:
    """Counts the executions of each item; fails those in `bad`."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.bad: set[int] = set()

    def __call__(self, x: int) -> int:
        self.ran.append(x)
        if x in self.bad:
            raise ValueError(f"bad {x}")
        return x * 10


def go(fn: Counting, items: Any, **options: Any) -> manifold.Results:
    with ByReference(fn) as (engine, proxy):
        return manifold.scatter(proxy, items, engine=engine, scatter_id="job", **options)  # type: ignore[no-any-return]


def test_a_second_run_of_a_finished_scatter_runs_nothing() -> None:
    fn = Counting()
    assert list(go(fn, range(100))) == list(go(fn, range(100)))
    assert sorted(fn.ran) == list(range(100))


def test_fresh_runs_everything_again() -> None:
    fn = Counting()
    go(fn, range(20))
    assert list(go(fn, range(20), fresh=True)) == [x * 10 for x in range(20)]
    assert len(fn.ran) == 40


def test_resume_never_runs_everything_again_as_fresh_does() -> None:
    fn = Counting()
    go(fn, range(20))
    go(fn, range(20), resume="always")
    assert len(fn.ran) == 20
    go(fn, range(20), resume="never")
    assert len(fn.ran) == 40


def test_failed_items_run_again_and_nothing_else_does() -> None:
    fn = Counting()
    fn.bad = {3, 50, 51}
    first = go(fn, range(60), tolerate=3, chunk_size=7)
    assert len(first) == 57
    fn.bad, fn.ran = {50}, []
    second = go(fn, range(60), tolerate=3, chunk_size=7)
    assert sorted(fn.ran) == [3, 50, 51]
    assert list(second) == [x * 10 for x in range(60) if x != 50]
    assert [failure.position for failure in second.failures()] == [50]
    assert len(first) == 57, "what a reader holds is pinned"
    assert list(first) == [x * 10 for x in range(60) if x not in (3, 50, 51)]
    assert len(first.latest()) == 59


def test_failed_items_that_cannot_be_run_again_are_told() -> None:
    told: list[str] = []

    class Listener(Monitor):
        def emit(self, event: Event) -> None:
            if isinstance(event, Notice):
                told.append(event.text)

    for _ in range(2):
        manifold.scatter(
            str, [1, threading.Lock(), 3], engine="threads://1", scatter_id="job", tolerate=1, monitors=[Listener()]
        )
    (text,) = told
    assert "items 1 to 1: of those that failed, 1 cannot be run again" in text


def test_a_scatter_that_ended_on_its_budget_continues() -> None:
    fn = Counting()
    fn.bad = {5}
    with pytest.raises(TooManyFailures):
        go(fn, range(1000), chunk_size=5)
    before = set(fn.ran)
    fn.bad, fn.ran = set(), []
    assert list(go(fn, range(1000), chunk_size=13)) == [x * 10 for x in range(1000)]
    assert set(fn.ran) | before == set(range(1000))
    assert len(fn.ran) < 1000


def test_a_list_that_changed_is_refused_and_nothing_is_mixed() -> None:
    fn = Counting()
    fn.bad = {7}
    go(fn, [*range(20)], tolerate=1)
    with pytest.raises(ItemsChanged):
        go(fn, [*range(19), 99], tolerate=1)


def numbers(items: Any, **options: Any) -> manifold.Results:
    return manifold.scatter(  # type: ignore[no-any-return]
        int, items, engine="threads://1", chunk_size=4, scatter_id="numbers", tolerate=2, **options
    )


@pytest.mark.parametrize("kind", ["list", "iterable", "files"])
def test_failed_items_can_be_fixed_in_the_input_where_that_is_accepted(kind: str, tmp_path: Path) -> None:
    def given(*items: str) -> Any:
        if kind == "files":
            (tmp_path / "numbers.txt").write_text("".join(f"{item}\n" for item in items))
            return lines(tmp_path / "numbers.txt")
        return list(items) if kind == "list" else dict.fromkeys(items).keys()

    assert list(numbers(given("0", "one", "2", "3", "4", "5", "six", "7"))) == [0, 2, 3, 4, 5, 7]
    fixed = ("0", "1", "2", "3", "4", "5", "SIX", "7")
    with pytest.raises(ItemsChanged):
        numbers(given(*fixed))
    results = numbers(given(*fixed), on_items_changed="accept")
    assert list(results) == [0, 1, 2, 3, 4, 5, 7]
    assert [failure.item for failure in results.failures()] == ["SIX"]
    # What was fixed in the meantime is no reason to refuse the next try.
    assert list(numbers(given(*fixed[:6], "6", "7"), on_items_changed="accept")) == list(range(8))


def test_committed_items_may_never_change() -> None:
    numbers(["0", "one", "2", "3", "4"])
    with pytest.raises(ItemsChanged, match="items 0 to 3 are not those that were committed"):
        numbers(["0", "1", "two", "3", "4"], on_items_changed="accept")
    ledger = open_ledger()
    row = ledger.find("numbers")
    assert row is not None
    assert (row.n_ok, row.n_failed) == (4, 1), "nothing was mixed"
    assert verify(ledger, row.uid) == []


def test_items_that_never_ran_may_change_where_that_is_accepted() -> None:
    with pytest.raises(TooManyFailures):
        numbers(["0", "1", "2", "3", *["x"] * 8, *"456"])
    assert list(numbers(list("012345678901234"), on_items_changed="accept")) == [*range(10), *range(5)]


def test_an_iterable_that_changed_where_it_was_committed_is_refused() -> None:
    class Numbers:
        def __init__(self, changed: int | None) -> None:
            self.changed = changed

        def __iter__(self) -> Iterator[int]:
            return (1000 if x == self.changed else x for x in range(30))

    fn = Counting()
    fn.bad = {29}
    with pytest.raises(TooManyFailures):
        go(fn, Numbers(None), chunk_size=10)
    with pytest.raises(ItemsChanged):
        go(fn, Numbers(3), chunk_size=10)


@pytest.mark.parametrize("length", [25, 35])
def test_an_input_that_became_shorter_or_longer_is_refused(length: int) -> None:
    fn = Counting()
    fn.bad = {3}
    go(fn, range(30), tolerate=1)
    with pytest.raises(ItemsChanged):
        go(fn, range(length), tolerate=1)


def test_a_generator_given_again_continues_and_a_shorter_one_is_told_apart() -> None:
    fn = Counting()
    fn.bad = {40}
    with pytest.raises(TooManyFailures):
        go(fn, iter(range(50)), chunk_size=10)
    with pytest.raises((InputGone, ItemsChanged)):
        go(fn, iter(range(5)), chunk_size=10)


def test_another_reduce_is_refused_and_changed_code_goes_on_with_a_warning() -> None:
    with pytest.raises(TooManyFailures):
        manifold.scatter(_first, range(30), engine="threads://1", scatter_id="code", chunk_size=5)
    results = manifold.scatter(_second, range(30), engine="threads://1", scatter_id="code", chunk_size=5)
    assert len(results) == 30
    with pytest.raises(CodeChanged):
        manifold.scatter(_second, range(30), engine="threads://1", scatter_id="code", reduce=max)


def test_changed_code_can_be_made_to_fail_or_to_start_from_scratch() -> None:
    with pytest.raises(TooManyFailures):
        manifold.scatter(_first, range(30), engine="threads://1", scatter_id="code", chunk_size=5)
    with pytest.raises(CodeChanged):
        manifold.scatter(_second, range(30), engine="threads://1", scatter_id="code", on_code_changed="fail")
    results = manifold.scatter(_second, range(30), engine="threads://1", scatter_id="code", on_code_changed="fresh")
    assert list(results) == [-x for x in range(30)]


def _first(x: int) -> int:
    if x == 22:
        raise ValueError("no")
    return x


def _second(x: int) -> int:
    return -x


def test_two_coordinators_at_once_never_both_own_a_scatter() -> None:
    fn = Counting()
    fn.bad = {1}
    go(fn, range(3), tolerate=1)
    ledger = open_ledger()
    row = ledger.find("job")
    assert row is not None
    claim = ledger.acquire(row.uid, Owner.here("the first"))
    with pytest.raises(ScatterBusy, match="the first"):
        ledger.acquire(row.uid, Owner.here("the second"))
    claim.release()
    ledger.acquire(row.uid, Owner.here("the second"))


def test_a_coordinator_killed_at_any_moment_loses_nothing(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(
            """
            import time, manifold
            def slow(x):
                time.sleep(0.002)
                return x * x
            results = manifold.scatter(slow, range(3000), engine="threads://2", scatter_id="killed", chunk_size=20)
            print(sum(results), len(results))
            """
        )
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        _wait_for_progress()
        process.kill()
        process.communicate()
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == [str(sum(x * x for x in range(3000))), "3000"]
    ledger = open_ledger()
    row = ledger.find("killed")
    assert row is not None
    assert row.epoch >= 2, "it was really continued"
    assert verify(ledger, row.uid) == []


def _wait_for_progress() -> None:
    """Until something more is committed."""
    ledger, deadline = open_ledger(), time.monotonic() + 60
    before = found.done if (found := ledger.find("killed")) else 0
    while not (found := ledger.find("killed")) or found.done <= before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ledger.close()


def test_a_try_whose_input_changes_under_it_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text("".join(f"{n}\n" for n in range(2000)))

    def touches(line: str) -> str:
        if line == "1500":
            with path.open("a") as file:
                file.write("one more\n")
        return line

    with pytest.raises(ItemsChanged, match=r"input\.txt has changed"):
        manifold.scatter(touches, lines(path), engine="threads://1", chunk_size=100, scatter_id="grows")
    ledger = open_ledger()
    row = ledger.find("grows")
    assert row is not None
    assert (row.state, row.done) == ("failed", 0)
    assert ledger.chunks(row.uid) == []
