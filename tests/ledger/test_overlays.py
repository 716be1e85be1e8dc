"""Re-runs of failed items: layers over a base that is never rewritten."""

from __future__ import annotations

import msgspec
import pytest

from manifold.ledger import Claim, Ledger, MergedRow
from manifold.policy import Tolerance
from tests.ledger.made import claim_rows, claimed, done, letters, owner, receipt, sent, sound


def again(claim: Claim, number: int = 2) -> Claim:
    """The next epoch of the same scatter."""
    claim.release()
    return claim.ledger.acquire(claim.uid, owner(number))


def counters(ledger: Ledger, claim: Claim) -> tuple[int, int, int, int]:
    row = ledger.scatter(claim.uid)
    return row.n_ok, row.n_failed, row.n_skipped, len(ledger.failures(claim.uid))


def test_a_rerun_of_an_item_that_had_not_failed_loses(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "offof")
    second = again(claim)
    attempt = sent(second, 0, 5, layer=2)
    assert second.commit([receipt(attempt, ".ooo.")]).won == [False]
    assert counters(ledger, claim) == (2, 3, 0, 3)
    sound(ledger)


def test_a_rerun_of_a_skipped_item_loses(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "fs")
    second = again(claim)
    assert second.commit([receipt(sent(second, 0, 2, layer=2), "oo")]).won == [False]
    sound(ledger)


def test_each_outcome_of_a_rerun_is_counted(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "offof")
    second = again(claim)
    done(second, 1, "os.f", layer=2, kind="crash")
    assert counters(ledger, claim) == (3, 1, 1, 1)
    (failure,) = ledger.failures(claim.uid)
    assert (failure.pos, failure.fingerprint, failure.layer, failure.epoch) == (4, "crash", 2, 2)
    assert [(kind.fingerprint, kind.count) for kind in ledger.kinds(claim.uid)] == [("crash", 1)]
    assert letters(ledger, claim.uid) == "oosof"
    sound(ledger)


def test_an_item_that_failed_in_this_epoch_is_not_run_again_in_it(ledger: Ledger) -> None:
    claim = again(claimed(ledger))
    done(claim, 0, "ff")
    assert claim.commit([receipt(sent(claim, 0, 2, layer=2), "oo")]).won == [False]
    assert counters(ledger, claim) == (0, 2, 0, 2)
    third = again(claim, 3)
    done(third, 0, "of", layer=3)
    assert third.commit([receipt(sent(third, 1, 2, layer=3), "o")]).won == [False]
    sound(ledger)


def test_a_rerun_of_an_older_epoch_loses(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "ff")
    second = again(claim)
    late = sent(second, 0, 2, layer=2)
    third = again(second, 3)
    assert third.commit([receipt(late, "oo")]).won == [False]
    disguised = msgspec.structs.replace(late, id="f" * 32)
    third.commit(attempts=[disguised])
    assert third.commit([receipt(disguised, "oo")]).won == [False], "open, but of a layer that is not this epoch's"
    assert letters(ledger, claim.uid) == "ff"
    sound(ledger)


def test_a_rerun_that_spans_two_chunks_loses(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "of")
    done(claim, 2, "fo")
    second = again(claim)
    attempt = sent(second, 1, 3, layer=2)
    assert second.commit([receipt(attempt, "oo")]).won == [False]
    done(second, 1, "o", layer=2)
    done(second, 2, "o", layer=2)
    assert letters(ledger, claim.uid) == "oooo"
    sound(ledger)


def test_a_rerun_over_nothing_loses(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "ff")
    second = again(claim)
    assert second.commit([receipt(sent(second, 5, 7, layer=2), "..")]).won == [False]
    assert second.commit([receipt(sent(second, 1, 3, layer=2), "o.")]).won == [False]
    sound(ledger)


def test_a_rerun_that_touches_nothing_counts_nothing(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "of")
    second = again(claim)
    assert second.commit([receipt(sent(second, 0, 2, layer=2), "..")]).won == [False]
    assert [row.layer for row in claim_rows(claim)] == [0]


def test_two_copies_of_a_rerun_count_once(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "fff")
    second = again(claim)
    copies = [sent(second, 0, 3, layer=2), sent(second, 0, 3, layer=2, why="speculative")]
    assert second.commit([receipt(copies[0], "oof"), receipt(copies[1], "ooo")]).won == [True, False]
    assert counters(ledger, claim) == (2, 1, 0, 1)
    sound(ledger)


def test_a_prefix_of_a_rerun_counts_and_the_rest_may_come_later_in_the_same_epoch(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "fff")
    second = again(claim)
    first = sent(second, 0, 3, layer=2)
    assert second.commit([receipt(first, "o")]).won == [True]
    done(second, 1, "oo", layer=2)
    assert letters(ledger, claim.uid) == "ooo"
    sound(ledger)


def test_layers_pile_up_and_the_highest_that_touched_an_item_tells(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "offffo")
    second = again(claim)
    done(second, 1, "o.fs", layer=2)
    third = again(second, 3)
    done(third, 2, "o", layer=3)
    done(third, 3, "o", layer=3)
    (merged,) = ledger.merged(claim.uid)
    assert [(run.letter, run.start, run.stop, run.row.layer) for run in merged.runs()] == [
        ("o", 0, 1, 0),
        ("o", 1, 2, 2),
        ("o", 2, 3, 3),
        ("o", 3, 4, 3),
        ("s", 4, 5, 2),
        ("o", 5, 6, 0),
    ]
    assert counters(ledger, claim) == (5, 0, 1, 0)
    sound(ledger)


def test_runs_of_a_chunk_without_reruns_are_those_of_its_outcome(ledger: Ledger) -> None:
    claim = claimed(ledger)
    row = done(claim, 7, "oofs")
    runs = MergedRow(row).runs()
    assert [(run.letter, run.start, run.stop) for run in runs] == [("o", 7, 9), ("f", 9, 10), ("s", 10, 11)]
    assert {run.row for run in runs} == {row}


def test_a_reader_that_pinned_a_moment_does_not_see_what_was_committed_later(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "off")
    pinned = claim.row.seq
    done(claim, 3, "of")
    second = again(claim)
    done(second, 1, "oo", layer=2)
    assert letters(ledger, claim.uid, as_of=pinned) == "off"
    assert [row.start for row in ledger.chunks(claim.uid, as_of=pinned)] == [0]
    assert ledger.overlays(claim.uid, 0, 5, as_of=pinned) == []
    assert letters(ledger, claim.uid) == "oooof"


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_pages_of_the_merged_view_miss_nothing_and_repeat_nothing(ledger: Ledger, page: int) -> None:
    claim = claimed(ledger)
    for start in range(0, 20, 2):
        done(claim, start, "of")
    second = again(claim)
    for start in range(1, 20, 6):
        done(second, start, "o", layer=2)
    rows = list(ledger.merged(claim.uid, page=page))
    assert [row.base.start for row in rows] == list(range(0, 20, 2))
    assert [row.base.start for row in rows if row.overlays] == [0, 6, 12, 18]
    assert [row.base.start for row in ledger.merged(claim.uid, after=10, page=page)] == [12, 14, 16, 18]


def test_a_redrive_can_turn_a_failed_scatter_into_one_that_succeeded(ledger: Ledger) -> None:
    claim = claimed(ledger, total=3)
    done(claim, 0, "off")
    assert claim.finish(Tolerance(count=1)).state == "failed"
    second = ledger.acquire(claim.uid, owner(2))
    done(second, 1, "of", layer=2)
    assert second.finish(Tolerance(count=1)).state == "succeeded"
    assert [row.layer for row in claim_rows(claim)] == [0, 2]
    sound(ledger)
