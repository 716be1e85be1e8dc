"""The commit: the first outcome of each item counts, whatever comes twice, late, in part, or of another epoch."""

from __future__ import annotations

import msgspec
import pytest

from manifold.errors import LedgerError
from manifold.ledger import Ledger
from manifold.protocol.records import Failure, WorkerInfo
from tests.ledger.made import claim_rows, claimed, done, dump, letters, new, owner, planned, receipt, sent, sound


def test_a_receipt_counts_and_its_chunk_row_says_what_it_said(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempt = sent(claim, 10, 16)
    told = receipt(attempt, "oofoss", items_digest="i", code_digest="c", blob_bytes=99)
    committed = claim.commit([told])
    assert committed.won == [True]
    (row,) = ledger.chunks(claim.uid)
    shared = set(row.__struct_fields__) & set(told.__struct_fields__)
    assert {name: getattr(row, name) for name in shared} == {name: getattr(told, name) for name in shared}
    assert (row.seq, row.suspect_at, row.outcome) == (1, None, "o2f1o1s2")
    assert committed.row == claim.row == ledger.scatter(claim.uid)
    assert (committed.row.n_ok, committed.row.n_failed, committed.row.n_skipped, committed.row.seq) == (3, 1, 2, 1)
    sound(ledger)


def test_receipts_and_attempts_of_one_commit_take_effect_together(ledger: Ledger) -> None:
    claim = claimed(ledger)
    first = sent(claim, 0, 10)
    second = planned(claim, 10, 20)
    claim.commit([receipt(first)], [second])
    assert claim.commit([receipt(second)]).won == [True]
    assert letters(ledger, claim.uid) == "o" * 20


@pytest.mark.parametrize(
    ("start", "stop"), [(10, 20), (10, 11), (19, 20), (5, 11), (19, 25), (5, 25), (12, 15), (9, 21), (10, 25), (5, 20)]
)
def test_a_receipt_that_overlaps_a_committed_chunk_loses(ledger: Ledger, start: int, stop: int) -> None:
    claim = claimed(ledger)
    late = sent(claim, start, stop)
    done(claim, 0, "oo")
    done(claim, 10, "o" * 10)
    done(claim, 30, "oo")
    before = ledger.scatter(claim.uid)
    assert claim.commit([receipt(late)]).won == [False]
    assert len(claim_rows(claim)) == 3
    after = ledger.scatter(claim.uid)
    assert msgspec.structs.replace(after, lease_until=None, seq=0) == msgspec.structs.replace(
        before, lease_until=None, seq=0
    )
    assert (late.id, "void") in [(row[0], row[6]) for row in dump(ledger)["attempt"]]
    sound(ledger)


@pytest.mark.parametrize(("start", "stop"), [(2, 10), (20, 30), (9, 10), (20, 21)])
def test_a_receipt_that_only_touches_its_neighbours_counts(ledger: Ledger, start: int, stop: int) -> None:
    claim = claimed(ledger)
    for first, size in ((0, 2), (10, 10), (30, 2)):
        done(claim, first, "o" * size)
    assert claim.commit([receipt(sent(claim, start, stop))]).won == [True]
    sound(ledger)


def test_of_overlapping_receipts_in_one_commit_the_first_counts(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempts = [sent(claim, 0, 10), sent(claim, 5, 15), sent(claim, 10, 20)]
    assert claim.commit([receipt(attempt) for attempt in attempts]).won == [True, False, True]
    assert claim.row.n_ok == 20
    sound(ledger)


def test_the_same_receipt_twice_counts_once_and_wins_both_times(ledger: Ledger) -> None:
    claim = claimed(ledger)
    told = receipt(sent(claim, 0, 4), "offo")
    assert claim.commit([told]).won == [True]
    assert claim.commit([told, told]).won == [True, True]
    assert (claim.row.n_ok, claim.row.n_failed) == (2, 2)
    sound(ledger)


@pytest.mark.parametrize("together", [True, False])
def test_of_two_executions_of_one_attempt_the_first_counts(ledger: Ledger, together: bool) -> None:
    claim = claimed(ledger)
    attempt = sent(claim, 0, 3)
    first, second = receipt(attempt, "oof", nonce="n1"), receipt(attempt, "ooo", nonce="n2")
    won = claim.commit([first, second]).won if together else claim.commit([first]).won + claim.commit([second]).won
    assert won == [True, False]
    assert letters(ledger, claim.uid) == "oof"
    sound(ledger)


def test_a_prefix_counts_and_the_rest_is_a_gap_for_another_attempt(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempt = sent(claim, 0, 10)
    assert claim.commit([receipt(attempt, "oos")]).won == [True]
    assert claim.commit([receipt(attempt, "o" * 10, nonce="n2")]).won == [False]
    assert claim.commit([receipt(sent(claim, 3, 10))]).won == [True]
    assert letters(ledger, claim.uid) == "oosooooooo"
    sound(ledger)


def test_an_empty_prefix_counts_nothing(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempt = sent(claim, 5, 10)
    told = receipt(attempt, stop=5, n_ok=0, blob_key=None)
    assert claim.commit([told]).won == [False]
    assert claim_rows(claim) == []
    sound(ledger)


def test_a_receipt_whose_attempt_was_never_written_down_loses(ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert claim.commit([receipt(planned(claim, 0, 3))]).won == [False]
    assert claim_rows(claim) == []


def test_a_receipt_that_is_not_of_its_attempt_loses(ledger: Ledger) -> None:
    claim, other = claimed(ledger), claimed(ledger, "others")
    attempt = sent(claim, 10, 20)
    strange = [
        msgspec.structs.replace(attempt, start=9),
        msgspec.structs.replace(attempt, stop=21),
        msgspec.structs.replace(attempt, start=12),
        msgspec.structs.replace(attempt, epoch=7),
    ]
    for one in strange:
        assert claim.commit([receipt(one)]).won == [False]
    foreign = sent(other, 0, 10)
    assert claim.commit([receipt(msgspec.structs.replace(foreign, uid=claim.uid))]).won == [False]
    assert claim_rows(claim) == []
    assert other.commit([receipt(foreign)]).won == [True], "the other scatter's attempt is none of this one's business"
    sound(ledger)


def test_a_receipt_of_another_scatter_is_an_error_and_leaves_both_as_they_are(ledger: Ledger) -> None:
    claim, other = claimed(ledger), claimed(ledger, "others")
    foreign = sent(other, 0, 10)
    with pytest.raises(LedgerError, match=f"is of scatter {other.uid}, not of {claim.uid}"):
        claim.commit([receipt(foreign)])
    assert other.commit([receipt(foreign)]).won == [True]
    sound(ledger)


def test_a_receipt_of_an_older_epoch_counts_if_its_items_have_no_outcome_yet(ledger: Ledger) -> None:
    claim = claimed(ledger)
    early, late = sent(claim, 0, 5), sent(claim, 5, 10)
    claim.release()
    second = ledger.acquire(claim.uid, owner(2))
    done(second, 5, "ooooo")
    assert second.commit([receipt(early), receipt(late)]).won == [True, False]
    assert [row.epoch for row in ledger.chunks(claim.uid)] == [1, 2]
    sound(ledger)


def test_a_receipt_past_the_end_of_the_input_loses(ledger: Ledger) -> None:
    claim = claimed(ledger)
    beyond, within = sent(claim, 8, 12), sent(claim, 8, 10)
    claim.set_total(10)
    assert claim.commit([receipt(beyond), receipt(within)]).won == [False, True]
    sound(ledger)


def test_failure_rows_are_the_items_that_failed_with_one_traceback_per_kind(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "ofo", kind="boom")
    done(claim, 3, "ffo", kind="boom", worker="worker 2")
    done(claim, 6, "f", kind="crash")
    rows = ledger.failures(claim.uid)
    assert [(row.pos, row.fingerprint, row.worker, row.layer, row.epoch) for row in rows] == [
        (1, "boom", "worker 1", 0, 1),
        (3, "boom", "worker 2", 0, 1),
        (4, "boom", "worker 2", 0, 1),
        (6, "crash", "worker 1", 0, 1),
    ]
    kinds = ledger.kinds(claim.uid)
    assert [(kind.fingerprint, kind.count, kind.traceback) for kind in kinds] == [
        ("boom", 3, "Traceback of boom"),
        ("crash", 1, "Traceback of crash"),
    ]
    sound(ledger)


def test_what_an_item_says_is_kept_short_and_in_characters_that_every_database_takes(ledger: Ledger) -> None:
    claim = claimed(ledger)
    failure = Failure(0, "boom", "ValueError", "a\0b\ud800c" + "x" * 999, key="k\0", item_repr="\0" * 9999)
    claim.commit([receipt(sent(claim, 0, 1), "f", failures=[failure], kinds={"boom": "trace\0back"})])
    (row,) = ledger.failures(claim.uid)
    assert row.message.startswith("a\\x00b\\ud800c")
    assert (len(row.message), len(row.item_repr or "")) == (300, 1024)
    assert row.key == "k\\x00"
    assert ledger.kinds(claim.uid)[0].traceback == "trace\\x00back"


@pytest.mark.parametrize(
    "changes",
    [
        {"n_ok": 4},
        {"n_failed": 0},
        {"outcome": "o2f1"},
        {"outcome": "nonsense"},
        {"failures": []},
        {"failures": [Failure(2, "boom", "ValueError", "another item")]},
        {"blob_key": None},
        {"fail_key": None},
        {"outcome": "o2f1.1"},
    ],
)
def test_a_receipt_that_contradicts_itself_is_an_error_and_nothing_is_committed(
    ledger: Ledger, changes: dict[str, object]
) -> None:
    claim = claimed(ledger)
    good, bad = sent(claim, 0, 2), sent(claim, 2, 6)
    told = msgspec.structs.replace(receipt(bad, "oofo"), **changes)
    before = dump(ledger)
    with pytest.raises(LedgerError, match=bad.id):
        claim.commit([receipt(good), told])
    assert dump(ledger) == before


def test_numbers_of_commits_only_grow(ledger: Ledger) -> None:
    claim = claimed(ledger)
    for start in range(0, 30, 10):
        attempts = [sent(claim, start + 5, start + 10), sent(claim, start, start + 5), sent(claim, start, start + 5)]
        claim.commit([receipt(attempt) for attempt in attempts])
    numbers = [row.seq for row in sorted(claim_rows(claim), key=lambda row: (row.start // 10, -row.start))]
    assert numbers == sorted(set(numbers))
    assert claim.row.seq >= numbers[-1]
    sound(ledger)


def test_workers_are_seen_with_what_they_hold_and_what_of_theirs_counted(ledger: Ledger) -> None:
    claim = claimed(ledger)
    first, again = sent(claim, 0, 4), sent(claim, 0, 4)
    seen = WorkerInfo("worker 1", "host 9", 77, silence=1.0, holding=(first.id,))
    claim.commit([receipt(first, "oofs"), receipt(again)], workers=[WorkerInfo("worker 1", "host 8", 7), seen])
    claim.commit([receipt(sent(claim, 4, 6), worker="worker 2")])
    one, two = ledger.workers(claim.uid)
    assert (one.worker, one.host, one.pid, one.holding, one.items, one.chunks) == (
        "worker 1", "host 9", 77, [first.id], 4, 1
    )  # fmt: skip
    assert (two.worker, two.holding, two.items, two.chunks) == ("worker 2", [], 2, 1)
    assert one.last_seen < two.last_seen


def test_what_a_worker_died_over_is_remembered(ledger: Ledger) -> None:
    claim = claimed(ledger)
    fatal = sent(claim, 4, 8, why="half")
    assert ledger.strikes(claim.uid) == []
    claim.died(fatal.id, "worker 2")
    (strike,) = ledger.strikes(claim.uid)
    assert (strike.id, strike.start, strike.stop, strike.worker, strike.why) == (fatal.id, 4, 8, "worker 2", "half")
    assert strike.started
    assert claim.commit([receipt(fatal)]).won == [True], "a worker may die after it sent its receipt"


def test_a_large_commit_is_one_of_many_batches(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempts = [planned(claim, start, start + 2) for start in range(0, 2400, 2)]
    claim.commit(attempts=attempts)
    assert claim.commit([receipt(attempt, "of") for attempt in attempts]).won == [True] * 1200
    assert claim.commit([receipt(attempt, "of") for attempt in attempts]).won == [True] * 1200
    assert (claim.row.n_ok, claim.row.n_failed) == (1200, 1200)
    sound(ledger)


def test_scatters_do_not_see_each_other(ledger: Ledger) -> None:
    first = claimed(ledger)
    second = ledger.acquire(ledger.create(new("trains")).uid, owner(2))
    done(first, 0, "oof")
    done(second, 0, "fs")
    assert (letters(ledger, first.uid), letters(ledger, second.uid)) == ("oof", "fs")
    sound(ledger)


def test_the_executions_of_an_item_that_fails_again_are_counted_together(ledger: Ledger) -> None:
    claim = claimed(ledger, total=3)
    first = sent(claim, 0, 3)
    failures = [Failure(pos, "boom", "ValueError", "boom", attempts=2) for pos in (1, 2)]
    claim.commit([receipt(first, "off", failures=failures)])
    claim.end("failed", "two failed")
    for number in (2, 3):
        claim = ledger.acquire(claim.uid, owner(number))
        again = sent(claim, 0, 3, layer=claim.epoch)
        failures = [Failure(1, "boom", "ValueError", "boom", attempts=3)]
        claim.commit([receipt(again, ".f." if number == 3 else ".fo", failures=failures)])
        claim.end("failed", "still")
    assert [(one.pos, one.attempts) for one in ledger.failures(claim.uid)] == [(1, 8)]
    sound(ledger)
