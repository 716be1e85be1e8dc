"""Making a scatter, owning it, and losing it to another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest

from manifold.errors import Fenced, LedgerError, ScatterBusy
from manifold.ledger import LEASE, Ledger, Owner
from manifold.policy import Tolerance
from manifold.protocol.records import ScatterRow
from tests.ledger.made import Clock, claimed, done, dump, new, owner, receipt, sent, sound

TOLERANT = Tolerance(count=1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(ledger: Ledger, clock: Clock) -> Ledger:
    """The ledger, with a clock that a test moves."""
    return Ledger(ledger.database.engine, now=clock)


def test_a_new_scatter_has_all_that_was_said_of_it_and_nobody_owns_it(ledger: Ledger) -> None:
    wanted = new(source_pin={"files": ["a"]}, policy={"tolerate": 1}, total=7, source_fp="fp", reduce_digest="r")
    row = ledger.create(wanted)
    assert row == ledger.scatter(wanted.uid) == ledger.find("flights")
    told = msgspec.structs.asdict(wanted)
    assert ledger.pin(wanted.uid) == told.pop("source_pin")
    assert told.pop("system") is False  # for lists alone: tests/cli and tests/web look at it
    assert {name: getattr(row, name) for name in told} == told
    assert (row.gen, row.state, row.epoch, row.owner, row.done) == (1, "running", 0, None, 0)


def test_creating_a_name_twice_gives_the_first_scatter(ledger: Ledger) -> None:
    first = ledger.create(new())
    assert ledger.create(new()) == first
    assert len(ledger.scatters()) == 1


def test_an_unknown_scatter_is_an_error_that_says_where_to_look(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="manifold ls"):
        ledger.scatter("nobody")
    with pytest.raises(LedgerError, match="manifold ls"):
        ledger.acquire("nobody", owner())
    assert ledger.find("nobody") is None


def test_acquiring_begins_an_epoch_with_a_lease(timed: Ledger, clock: Clock) -> None:
    claim = claimed(timed)
    assert (claim.epoch, claim.row.owner, claim.row.lease_until) == (1, "coordinator 1", clock.now + LEASE)
    assert claim.row == timed.scatter(claim.uid)


def test_a_scatter_that_somebody_owns_is_busy_and_the_error_says_who_and_how_long(timed: Ledger, clock: Clock) -> None:
    claim = claimed(timed)
    clock.now += 12
    with pytest.raises(ScatterBusy, match=r"flights is being run by coordinator 1, for 12 s.*free in 18 s"):
        timed.acquire(claim.uid, owner(2))
    assert timed.scatter(claim.uid).epoch == 1


def test_a_lease_that_ran_out_is_free_and_one_that_was_renewed_is_not(timed: Ledger, clock: Clock) -> None:
    claim = claimed(timed)
    clock.now += LEASE - 1
    claim.renew()
    clock.now += LEASE
    with pytest.raises(ScatterBusy):
        timed.acquire(claim.uid, owner(2))
    clock.now += 0.1
    assert timed.acquire(claim.uid, owner(2)).epoch == 2


def test_a_later_try_of_the_same_task_takes_over_at_once_and_an_earlier_one_never(ledger: Ledger) -> None:
    uid = ledger.create(new()).uid
    ledger.acquire(uid, owner(1, claim_key="dag/run/task", claim_no=2))
    for claim_key, claim_no in (("dag/run/task", 2), ("dag/run/task", 1), ("another", 3), (None, 3)):
        with pytest.raises(ScatterBusy):
            ledger.acquire(uid, owner(2, claim_key=claim_key, claim_no=claim_no))
    taken = ledger.acquire(uid, owner(2, claim_key="dag/run/task", claim_no=3))
    assert (taken.epoch, taken.row.claim_no) == (2, 3)


def test_the_scatter_of_a_dead_process_of_this_host_is_free_at_once(ledger: Ledger) -> None:
    uid = ledger.create(new()).uid
    here = Owner.here("me")
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        gone = child.pid
    ledger.acquire(uid, msgspec.structs.replace(here, pid=gone))
    assert ledger.acquire(uid, here).epoch == 2


def test_the_scatter_of_a_living_process_of_this_host_is_busy(ledger: Ledger) -> None:
    uid = ledger.create(new()).uid
    here = Owner.here("me")
    assert here.pid == os.getpid()
    ledger.acquire(uid, here)
    with pytest.raises(ScatterBusy):
        ledger.acquire(uid, here)


def test_a_process_that_only_has_the_pid_of_the_owner_is_not_the_owner(ledger: Ledger) -> None:
    uid = ledger.create(new()).uid
    here = Owner.here("me")
    ledger.acquire(uid, msgspec.structs.replace(here, pid_started=here.pid_started - 100))
    assert ledger.acquire(uid, here).epoch == 2


def test_a_scatter_that_was_released_is_free_and_still_running(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "oof")
    claim.release()
    row = ledger.scatter(claim.uid)
    assert (row.state, row.owner, row.lease_until, row.done) == ("running", None, None, 3)
    assert ledger.acquire(claim.uid, owner(2)).epoch == 2


def test_acquiring_an_ended_scatter_makes_it_run_again(ledger: Ledger) -> None:
    claim = claimed(ledger)
    claim.end("failed", "too many failures")
    row = ledger.acquire(claim.uid, owner(2)).row
    assert (row.state, row.message, row.ended_at) == ("running", None, None)


def test_acquiring_voids_the_reruns_of_an_earlier_epoch_and_keeps_its_base_attempts(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "ff")
    base = sent(claim, 2, 4)
    claim.release()
    second = ledger.acquire(claim.uid, owner(2))
    overlay = sent(second, 0, 2, layer=2)
    second.release()
    third = ledger.acquire(claim.uid, owner(3))
    committed = third.commit([receipt(base), receipt(overlay)])
    assert committed.won == [True, False]
    assert next(row for row in dump(ledger)["attempt"] if "void" in row)[0] == overlay.id
    sound(ledger)


def test_a_fresh_start_takes_the_name_and_nothing_of_the_old_one_counts(ledger: Ledger) -> None:
    old = claimed(ledger)
    done(old, 0, "oof")
    left = sent(old, 3, 5)
    fresh = old.fresh(new())
    row = ledger.scatter(fresh.uid)
    assert (row.name, row.gen, row.epoch, row.state, row.done) == ("flights", 2, 1, "running", 0)
    assert row.owner == "coordinator 1"
    assert ledger.find("flights") == row
    assert ledger.scatter(old.uid).state == "replaced"
    with pytest.raises(Fenced, match="replaced"):
        old.commit([receipt(left)])
    assert fresh.commit([receipt(msgspec.structs.replace(left, uid=fresh.uid))]).won == [False]
    sound(ledger)


def test_a_replaced_scatter_cannot_be_acquired(ledger: Ledger) -> None:
    old = claimed(ledger)
    old.fresh(new())
    with pytest.raises(Fenced, match="replaced by a fresh start"):
        ledger.acquire(old.uid, owner(2))


def test_a_fenced_coordinator_cannot_start_from_scratch(ledger: Ledger) -> None:
    old = claimed(ledger)
    old.release()
    ledger.acquire(old.uid, owner(2))
    with pytest.raises(Fenced):
        old.fresh(new())
    assert len(ledger.scatters()) == 1


def test_creating_after_the_only_generation_was_replaced_makes_the_next_one(ledger: Ledger) -> None:
    claim = claimed(ledger)
    claim.end("replaced", "collected")  # type: ignore[arg-type]
    assert ledger.find("flights") is None
    row = ledger.create(new())
    assert (row.gen, row.state) == (2, "running")
    assert ledger.create(new()) == row


def test_every_write_of_a_fenced_coordinator_is_refused_and_changes_nothing(ledger: Ledger) -> None:
    claim = claimed(ledger)
    row = done(claim, 0, "oof")
    attempt = sent(claim, 3, 5)
    number = ledger.control(claim.uid, "pause")
    claim.release()
    ledger.acquire(claim.uid, owner(2))
    before = dump(ledger)

    writes: list[Callable[[], object]] = [
        claim.renew,
        lambda: claim.describe(fn_key="k"),
        lambda: claim.commit([receipt(attempt)]),
        lambda: claim.commit(attempts=[attempt]),
        lambda: claim.died(attempt.id),
        lambda: claim.set_total(5),
        lambda: claim.withdraw(row),
        claim.withdraw_epoch,
        lambda: claim.applied(number),
        lambda: claim.finish(TOLERANT),
        lambda: claim.end("failed", "no"),
        claim.release,
    ]
    for write in writes:
        with pytest.raises(Fenced, match=r"taken over by coordinator 2 \(epoch 2; this coordinator has 1\)"):
            write()
    assert dump(ledger) == before


def test_what_a_scatter_runs_can_be_described_and_nothing_else(ledger: Ledger) -> None:
    claim = claimed(ledger)
    row: ScatterRow = claim.describe(fn_key="k", engine="threads://2", policy={"tolerate": 3})
    assert row == ledger.scatter(claim.uid) == claim.row
    assert (row.fn_key, row.engine, row.policy) == ("k", "threads://2", {"tolerate": 3})
    with pytest.raises(TypeError, match="state"):
        claim.describe(state="succeeded")


def test_each_claim_fences_those_before_it(ledger: Ledger) -> None:
    uid = ledger.create(new()).uid
    claims = [ledger.acquire(uid, owner(number, claim_key="task", claim_no=number)) for number in (1, 2, 3)]
    assert [claim.epoch for claim in claims] == [1, 2, 3]
    claims[-1].renew()
    for fenced in claims[:-1]:
        with pytest.raises(Fenced):
            fenced.renew()
