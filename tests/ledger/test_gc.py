"""Collecting what no chunk names, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from manifold.ledger import Claim, Ledger, gc
from manifold.ledger.ledger import STALE
from manifold.policy import Tolerance
from manifold.protocol.records import Attempt
from tests.ledger.made import Clock, Shelf, claimed, dump, letters, new, owner, planned, receipt, sent, sound


@pytest.fixture
def store() -> Shelf:
    return Shelf()


def put(ledger: Ledger, store: Shelf, attempt: Attempt, *, nonce: str = "n1", kinds: str = "rf") -> list[str]:
    """What an execution leaves in the store."""
    place = f"{attempt.start:016x}-{attempt.stop:016x}.{attempt.id}.{nonce}"
    keys = [f"{ledger.uuid}/{attempt.uid}/{place}.{kind}" for kind in kinds]
    for key in keys:
        store.put(key, b"bytes")
    return keys


def committed(claim: Claim, store: Shelf, start: int, letters: str, *, layer: int = 0) -> list[str]:
    """A chunk that counts, with its blobs."""
    attempt = sent(claim, start, start + len(letters), layer=layer)
    blob, fail = put(claim.ledger, store, attempt)
    told = receipt(attempt, letters)
    claim.commit([msgspec.structs.replace(told, blob_key=told.blob_key and blob, fail_key=told.fail_key and fail)])
    return [blob, fail]


def collected(ledger: Ledger, claim: Claim, store: Shelf, *, dry_run: bool = False) -> list[str]:
    return gc.collect(ledger, ledger.scatter(claim.uid), store, dry_run=dry_run).keys


def test_what_chunks_name_stays_in_every_layer(ledger: Ledger, store: Shelf) -> None:
    claim = claimed(ledger)
    keys = committed(claim, store, 0, "of")
    claim.release()
    second = ledger.acquire(claim.uid, owner(2))
    blob, stray = committed(second, store, 1, "o", layer=2)
    assert collected(ledger, claim, store) == [stray]
    assert sorted(store.held) == sorted([*keys, blob])


def test_what_other_executions_of_a_committed_attempt_left_goes(ledger: Ledger, store: Shelf) -> None:
    claim = claimed(ledger)
    kept = committed(claim, store, 0, "of")
    (attempt_id,) = [row.attempt for row in ledger.chunks(claim.uid)]
    twin = msgspec.structs.replace(planned(claim, 0, 2), id=attempt_id)
    left = put(ledger, store, twin, nonce="n2")
    assert collected(ledger, claim, store) == sorted(left)
    assert sorted(store.held) == sorted(kept)


def test_what_an_open_attempt_left_stays_until_it_is_closed(ledger: Ledger, store: Shelf) -> None:
    claim = claimed(ledger)
    attempt = sent(claim, 0, 2)
    keys = put(ledger, store, attempt)
    assert collected(ledger, claim, store) == []
    claim.end("cancelled", "enough")
    assert collected(ledger, claim, store) == sorted(keys)
    assert store.held == {}


def test_what_an_attempt_left_that_the_ledger_does_not_know_goes(ledger: Ledger, store: Shelf) -> None:
    claim = claimed(ledger)
    keys = put(ledger, store, planned(claim, 0, 2))
    assert collected(ledger, claim, store) == sorted(keys)


def test_a_log_stays_with_its_execution(ledger: Ledger, store: Shelf) -> None:
    claim = claimed(ledger)
    attempt = sent(claim, 0, 2)
    blob, fail, log = put(ledger, store, attempt, kinds="rfl")
    late = put(ledger, store, attempt, nonce="n2", kinds="l")
    claim.commit([msgspec.structs.replace(receipt(attempt, "of"), blob_key=blob, fail_key=fail)])
    assert collected(ledger, claim, store) == late
    assert sorted(store.held) == sorted([blob, fail, log])


def test_a_function_stays_while_it_is_named_or_may_be_named_soon(ledger: Ledger, store: Shelf) -> None:
    claim = claimed(ledger)
    old, named = (f"{ledger.uuid}/{claim.uid}/function.{number}" for number in (1, 2))
    store.put(old, b"")
    store.put(named, b"")
    assert collected(ledger, claim, store) == [], "its coordinator may be about to name it"
    claim.describe(fn_key=named)
    claim.set_total(0)
    claim.finish(Tolerance())
    assert collected(ledger, claim, store) == [old]


def test_another_scatter_and_another_ledger_keep_their_keys(ledger: Ledger, store: Shelf) -> None:
    claim, other = claimed(ledger), claimed(ledger, "trains")
    put(ledger, store, planned(other, 0, 2))
    store.put(f"another/{claim.uid}/0-1.a.n.r", b"")
    assert collected(ledger, claim, store) == []
    assert len(store.held) == 3


def test_a_dry_run_says_what_would_go_and_leaves_it(ledger: Ledger, store: Shelf) -> None:
    claim = claimed(ledger)
    keys = put(ledger, store, planned(claim, 0, 2))
    assert collected(ledger, claim, store, dry_run=True) == sorted(keys)
    assert len(store.held) == 2


def test_a_blob_that_is_committed_while_gc_looks_stays(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempt = sent(claim, 0, 2)

    class Listing(Shelf):
        """Commits the blob between the listing and the look into the ledger."""

        def keys(self, prefix: str = "") -> Iterator[str]:
            yield from super().keys(prefix)
            claim.commit([msgspec.structs.replace(receipt(attempt), blob_key=keys[0])])

    store = Listing()
    keys = put(ledger, store, attempt, kinds="r")
    assert collected(ledger, claim, store) == []
    assert list(store.held) == keys


def test_attempts_of_an_older_epoch_are_given_up_after_a_day(ledger: Ledger, store: Shelf) -> None:
    clock = Clock()
    timed = Ledger(ledger.database.engine, now=clock)
    claim = claimed(timed)
    early = sent(claim, 0, 2)
    clock.now += STALE - 60
    second = timed.acquire(claim.uid, owner(2))
    recent = sent(second, 2, 4)
    assert timed.void_stale() == 0
    clock.now += 61
    assert timed.void_stale() == 1
    clock.now += STALE
    assert timed.void_stale() == 0, "an attempt of this epoch is never given up"
    keys = put(timed, store, early)
    put(timed, store, recent)
    assert collected(timed, second, store) == sorted(keys)
    assert second.commit([receipt(early), receipt(recent)]).won == [False, True]


def test_a_scatter_that_ended_long_ago_goes_as_a_whole_and_its_uid_stays(ledger: Ledger, store: Shelf) -> None:
    clock = Clock()
    timed = Ledger(ledger.database.engine, now=clock)
    claim = claimed(timed)
    committed(claim, store, 0, "oof")
    timed.control(claim.uid, "set", {"tolerate": 1})
    claim.died(sent(claim, 3, 4).id, "worker 1")
    claim.set_total(3)
    claim.finish(Tolerance(count=1))
    recent = claimed(timed, "trains", total=0)
    clock.now += 100
    recent.finish(Tolerance())
    clock.now += 50

    planned_ = gc.sweep(timed, lambda row: store, older_than=100, dry_run=True)
    assert [(one.name, one.retired, len(one.keys)) for one in planned_] == [("flights", True, 2)]
    assert letters(timed, claim.uid) == "oof"

    done = gc.sweep(timed, lambda row: store, older_than=100)
    assert [(one.name, one.retired, len(one.keys)) for one in done] == [("flights", True, 2)]
    assert store.held == {}
    held = dump(timed)
    empty = [name for name in ("chunk", "attempt", "failure", "error_kind", "control", "worker") if not held[name]]
    assert len(empty) == 6
    row = timed.scatter(claim.uid)
    assert (row.state, row.message) == ("replaced", "collected; it had ended as succeeded: 2 ok, 1 failed, 0 skipped")
    assert timed.find("flights") is None
    assert timed.create(new()).gen == 2
    assert gc.sweep(timed, lambda row: store, older_than=100) == []
    sound(timed)


def test_a_scatter_that_runs_is_never_retired(ledger: Ledger, store: Shelf) -> None:
    clock = Clock()
    timed = Ledger(ledger.database.engine, now=clock)
    claim = claimed(timed)
    committed(claim, store, 0, "of")
    claim.end("failed", "no")
    ended = timed.scatter(claim.uid)
    clock.now += 1000
    assert [row.uid for row in gc.retirable(timed, 10)] == [claim.uid]
    second = timed.acquire(claim.uid, owner(2))
    assert gc.retirable(timed, 10) == []
    assert not gc.retire(timed, ended, store).retired, "it was taken up again after gc had looked"
    second.renew()
    assert letters(timed, claim.uid) == "of"
    assert len(store.held) == 2


def test_a_retirement_that_was_cut_off_is_completed_by_the_next(ledger: Ledger) -> None:
    clock = Clock()
    timed = Ledger(ledger.database.engine, now=clock)

    class Failing(Shelf):
        works = False

        def delete(self, key: str) -> None:
            if not self.works:
                raise OSError("unreachable")
            super().delete(key)

    store = Failing()
    claim = claimed(timed)
    committed(claim, store, 0, "of")
    claim.end("failed", "no")
    clock.now += 1000
    with pytest.raises(OSError, match="unreachable"):
        gc.sweep(timed, lambda row: store, older_than=10)
    assert len(store.held) == 2
    store.works = True
    (one,) = gc.sweep(timed, lambda row: store, older_than=10)
    assert (one.retired, len(one.keys), store.held) == (True, 2, {})
    assert timed.scatter(claim.uid).message == "collected; it had ended as failed: 1 ok, 1 failed, 0 skipped"


def test_a_replaced_scatter_goes_with_its_blobs_after_a_while(ledger: Ledger, store: Shelf) -> None:
    clock = Clock()
    timed = Ledger(ledger.database.engine, now=clock)
    old = claimed(timed)
    committed(old, store, 0, "of")
    fresh = old.fresh(new())
    kept = committed(fresh, store, 0, "of")
    clock.now += 20
    (one,) = gc.sweep(timed, lambda row: store, older_than=10)
    assert (one.uid, sorted(store.held)) == (old.uid, sorted(kept))
    sound(timed)


def test_what_has_had_no_coordinator_for_so_long_goes_and_what_has_one_stays(
    sqlite_ledger: Ledger, store: Shelf
) -> None:
    clock = Clock()
    timed = Ledger(sqlite_ledger.database.engine, now=clock)
    released, lost, living = (claimed(timed, name) for name in ("released", "lost", "living"))
    released.release(ending="error", message="no broker")
    clock.now += 60
    assert gc.retirable(timed, 100) == []
    clock.now += 80
    living.renew()
    assert {row.uid for row in gc.retirable(timed, 100)} == {released.uid, lost.uid}
    old = gc.retirable(timed, 100)
    back = timed.acquire(lost.uid, owner(2))
    gone = {row.uid: gc.retire(timed, row, store).retired for row in old}
    assert gone == {released.uid: True, lost.uid: False}, "one that is coordinated again is left alone"
    assert timed.tries(released.uid) == []
    back.renew()
    sound(timed)


def test_a_scatter_that_waits_for_a_try_which_never_comes_ends_with_the_reason(sqlite_ledger: Ledger) -> None:
    clock = Clock()
    timed = Ledger(sqlite_ledger.database.engine, now=clock)
    claim = claimed(timed, "hopeless")
    assert not timed.give_up(claim.uid, "failed", "no"), "it has a coordinator"
    claim.release(ending="error", message="no broker")
    assert timed.give_up(claim.uid, "failed", "no broker; no further try comes")
    assert timed.state(claim.uid) == ("failed", "no broker; no further try comes")
    assert not timed.give_up(claim.uid, "cancelled", "again"), "it has ended"
    assert timed.tries(claim.uid)[0].message == "no broker"
    sound(timed)
