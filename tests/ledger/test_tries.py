"""The tries at a scatter, and the state that people are shown."""

from __future__ import annotations

import pytest

from manifold.ledger import Ledger
from manifold.ledger.states import CONDITIONS
from manifold.policy import Tolerance
from tests.ledger.made import Clock, claimed, done, new, owner, sound


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(ledger: Ledger, clock: Clock) -> Ledger:
    """The ledger, with a clock that a test moves."""
    return Ledger(ledger.database.engine, now=clock)


def state(ledger: Ledger, uid: str) -> str:
    """What people are shown; the same whichever way it is asked for."""
    shown = ledger.state(uid).state
    assert [row.uid for row in ledger.scatters(state=shown)] == [uid]
    assert not any(ledger.scatters(state=other) for other in CONDITIONS if other != shown)
    return shown


def test_a_try_is_written_down_with_what_it_does_and_what_it_did(timed: Ledger, clock: Clock) -> None:
    me = owner(1, claim_key="dag/run/task/-1", claim_no=2, claims=3, mode="continue", why="continues: 4 of 9 items")
    claim = timed.acquire(timed.create(new()).uid, me)
    (running,) = timed.tries(claim.uid)
    assert (running.ended_at, running.ending, running.message) == (None, None, None)
    done(claim, 0, "oof")
    done(claim, 3, "ss")
    clock.now += 5
    claim.release(ending="error", message="EngineError: no broker\0")
    (ended,) = timed.tries(claim.uid)
    assert (ended.owner, ended.owner_key, ended.claim_no, ended.claims) == ("coordinator 1", "dag/run/task/-1", 2, 3)
    assert (ended.host, ended.pid, ended.mode, ended.why) == ("host 1", 1, "continue", "continues: 4 of 9 items")
    assert (ended.began_at, ended.ended_at, ended.ending) == (1000.0, 1005.0, "error")
    assert (ended.message, ended.items, ended.chunks) == ("EngineError: no broker\\x00", 5, 2)
    sound(timed)


def test_each_try_counts_what_was_done_in_it_and_not_before(timed: Ledger) -> None:
    claim = claimed(timed)
    done(claim, 0, "oof")
    claim.release()
    second = timed.acquire(claim.uid, owner(2))
    done(second, 3, "oooo")
    assert [(one.epoch, one.items, one.chunks) for one in timed.tries(claim.uid)] == [(2, 4, 1), (1, 3, 1)]
    done(second, 2, "o", layer=2)
    second.set_total(7)
    second.finish(Tolerance())
    told = [(one.epoch, one.ending, one.items, one.chunks) for one in timed.tries(claim.uid)]
    assert told == [(2, "succeeded", 5, 2), (1, "stopped", 3, 1)]


def test_a_try_that_is_not_heard_of_reads_as_lost_before_and_after_another_takes_over(
    timed: Ledger, clock: Clock
) -> None:
    claim = claimed(timed)
    done(claim, 0, "ooo")
    clock.now += 31
    (read,) = timed.tries(claim.uid)
    assert (read.ending, read.ended_at) == ("lost", 1000.0)
    assert "does not report" in (read.message or "")
    timed.acquire(claim.uid, owner(2))
    second, first = timed.tries(claim.uid)
    assert first == read
    assert (second.ending, second.began_at) == (None, 1031.0)


def test_a_try_that_a_later_try_of_the_task_took_over_from_is_fenced(timed: Ledger) -> None:
    uid = timed.create(new()).uid
    timed.acquire(uid, owner(1, claim_key="task", claim_no=1))
    timed.acquire(uid, owner(2, claim_key="task", claim_no=2))
    second, first = timed.tries(uid)
    assert (first.ending, first.message, second.ending) == ("fenced", "coordinator 2 took over", None)


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
def test_a_try_that_ends_the_scatter_says_so(timed: Ledger, ending: str) -> None:
    claim = claimed(timed)
    claim.end(ending, "because")  # type: ignore[arg-type]
    (only,) = timed.tries(claim.uid)
    assert (only.ending, only.message) == (ending, "because")


def test_a_fresh_start_ends_the_try_and_forgets_the_pin_of_the_scatter_it_replaces(timed: Ledger) -> None:
    claim = claimed(timed, source_pin={"files": ["a"]})
    fresh = claim.fresh(new(source_pin={"files": ["b"]}))
    assert [one.ending for one in timed.tries(claim.uid)] == ["replaced"]
    assert [one.epoch for one in timed.tries(fresh.uid)] == [1]
    assert (timed.pin(claim.uid), timed.pin(fresh.uid)) == ({}, {"files": ["b"]})


def test_a_scatter_that_was_there_already_keeps_its_pin(timed: Ledger) -> None:
    first = timed.create(new(source_pin={"files": ["a"]}))
    assert timed.create(new(source_pin={"files": ["b"]})) == first
    assert timed.pin(first.uid) == {"files": ["a"]}


def test_the_state_shown_follows_the_scatter(timed: Ledger, clock: Clock) -> None:
    claim = claimed(timed)
    assert state(timed, claim.uid) == "running"
    timed.control(claim.uid, "pause", {}, "ann")
    assert state(timed, claim.uid) == "paused"
    timed.control(claim.uid, "drain", {}, "ann")
    assert state(timed, claim.uid) == "draining"
    claim.release(ending="drained", message="drained by ann")
    assert state(timed, claim.uid) == "drained"
    claim = timed.acquire(claim.uid, owner(2))
    assert state(timed, claim.uid) == "paused"  # the drain died with its epoch, the pause did not
    timed.control(claim.uid, "resume", {}, "ann")
    assert state(timed, claim.uid) == "running"
    clock.now += 31
    assert state(timed, claim.uid) == "stopped"
    claim = timed.acquire(claim.uid, owner(3))
    claim.release()
    assert state(timed, claim.uid) == "stopped"
    claim = timed.acquire(claim.uid, owner(4))
    claim.end("cancelled", "enough")
    assert state(timed, claim.uid) == "cancelled"
    claim = timed.acquire(claim.uid, owner(5))
    claim.end("failed", "enough")
    assert state(timed, claim.uid) == "failed"
    claim = timed.acquire(claim.uid, owner(6))
    claim.set_total(0)
    claim.finish(Tolerance())
    assert state(timed, claim.uid) == "succeeded"
