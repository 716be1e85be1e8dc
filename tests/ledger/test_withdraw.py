"""Taking committed chunks back."""

from __future__ import annotations

import msgspec

from manifold.ledger import Ledger
from manifold.protocol.records import Failure
from tests.ledger.made import claim_rows, claimed, done, dump, letters, owner, receipt, sent, sound
from tests.ledger.test_overlays import again, counters


def test_a_chunk_that_is_withdrawn_is_a_gap_again_and_can_be_filled(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "oo")
    lost = done(claim, 2, "ofs")
    done(claim, 5, "f")
    assert claim.withdraw(lost) == ledger.scatter(claim.uid)
    assert counters(ledger, claim) == (2, 1, 0, 1)
    assert letters(ledger, claim.uid) == "oo___f"
    sound(ledger)
    done(claim, 2, "ooo")
    assert letters(ledger, claim.uid) == "ooooof"
    sound(ledger)


def test_a_withdrawn_chunk_takes_its_reruns_along_those_under_way_too(ledger: Ledger) -> None:
    claim = claimed(ledger)
    lost = done(claim, 0, "fff")
    done(claim, 3, "f")
    second = again(claim)
    done(second, 0, "os", layer=2)
    done(second, 3, "o", layer=2)
    under_way, elsewhere = sent(second, 2, 3, layer=2), sent(second, 4, 5)
    second.withdraw(lost)
    assert counters(ledger, claim) == (1, 0, 0, 0)
    assert [(row.layer, row.start) for row in claim_rows(claim)] == [(0, 3), (2, 3)]
    assert second.commit([receipt(under_way, "o"), receipt(elsewhere)]).won == [False, True]
    sound(ledger)


def test_what_was_replaced_meanwhile_is_not_withdrawn(ledger: Ledger) -> None:
    claim = claimed(ledger)
    lost = done(claim, 0, "oo")
    claim.withdraw(lost)
    done(claim, 0, "of")
    before = dump(ledger)
    claim.withdraw(lost)
    assert dump(ledger) == before


def test_a_withdrawn_rerun_leaves_its_items_failed_as_they_were(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "offf", kind="boom")
    second = again(claim)
    lost = done(second, 1, "osf", layer=2, kind="crash")
    given = [Failure(pos, "boom", "ValueError", f"told by the sidecar: {pos}") for pos in (1, 2, 3)]
    second.withdraw(lost, given)
    assert counters(ledger, claim) == (1, 3, 0, 3)
    assert [(row.pos, row.layer, row.epoch, row.message) for row in ledger.failures(claim.uid)] == [
        (pos, 0, 1, f"told by the sidecar: {pos}") for pos in (1, 2, 3)
    ]
    sound(ledger)


def test_without_the_sidecar_a_withdrawn_rerun_still_leaves_a_row_per_failed_item(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "ff")
    second = again(claim)
    second.withdraw(done(second, 0, "oo", layer=2))
    assert [(row.pos, row.type) for row in ledger.failures(claim.uid)] == [(0, "ResultsLost"), (1, "ResultsLost")]
    assert [(kind.type, kind.count) for kind in ledger.kinds(claim.uid)] == [("ResultsLost", 2)]
    sound(ledger)
    done(second, 0, "oo", layer=2)
    assert counters(ledger, claim) == (2, 0, 0, 0)
    sound(ledger)


def test_a_rerun_can_be_withdrawn_from_below_another(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "ffff")
    second = again(claim)
    lost = done(second, 0, "of.f", layer=2)
    third = again(second, 3)
    done(third, 1, "o.s", layer=3)
    third.withdraw(lost)
    assert letters(ledger, claim.uid) == "fofs"
    assert counters(ledger, claim) == (1, 2, 1, 2)
    sound(ledger)


def test_a_failed_item_of_a_withdrawn_rerun_is_failed_as_the_layer_below_says(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "f", kind="base")
    second = again(claim)
    done(second, 0, "f", layer=2, kind="second")
    third = again(second, 3)
    third.withdraw(done(third, 0, "f", layer=3, kind="third"))
    (failure,) = ledger.failures(claim.uid)
    assert (failure.layer, failure.epoch) == (2, 2)
    sound(ledger)


def test_withdrawing_an_epoch_takes_back_what_was_sent_in_it_and_nothing_else(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "off")
    early = sent(claim, 3, 6)
    second = again(claim)
    done(second, 1, "of", layer=2)
    done(second, 6, "ofs")
    left = sent(second, 9, 12)
    assert second.commit([receipt(early)]).won == [True]
    second.withdraw_epoch()
    assert letters(ledger, claim.uid) == "offooo"
    assert counters(ledger, claim) == (4, 2, 0, 2)
    sound(ledger)
    assert second.commit([receipt(left)]).won == [False], "it was sent with the other input"


def test_a_suspect_chunk_is_found_until_it_is_withdrawn(ledger: Ledger) -> None:
    claim = claimed(ledger)
    row = done(claim, 0, "oo")
    done(claim, 2, "oo")
    assert ledger.suspects(claim.uid) == []
    assert ledger.suspect(row)
    assert ledger.suspect(row)
    (suspect,) = ledger.suspects(claim.uid)
    assert (suspect.start, suspect.suspect_at is None) == (0, False)
    claim.withdraw(suspect)
    assert ledger.suspects(claim.uid) == []


def test_a_chunk_that_took_the_place_of_the_one_a_reader_saw_is_not_suspect(ledger: Ledger) -> None:
    claim = claimed(ledger)
    seen = done(claim, 0, "oo")
    claim.withdraw(seen)
    done(claim, 0, "oo")
    assert not ledger.suspect(seen)
    assert not ledger.suspect(msgspec.structs.replace(seen, start=9))
    assert ledger.suspects(claim.uid) == []


def test_a_scatter_goes_on_after_a_withdrawal_in_a_later_epoch(ledger: Ledger) -> None:
    claim = claimed(ledger)
    lost = done(claim, 0, "oof")
    claim.end("failed", "lost")
    second = ledger.acquire(claim.uid, owner(2))
    second.withdraw(lost)
    done(second, 0, "ooo")
    assert [row.epoch for row in claim_rows(claim)] == [2]
    sound(ledger)
