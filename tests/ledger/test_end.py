"""The end of the input, and the ends of a scatter."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from manifold.errors import Fenced, ItemsChanged, LedgerError
from manifold.ledger import Ledger
from manifold.ledger.tables import scatter
from manifold.policy import Tolerance
from tests.ledger.made import claimed, done, dump, owner, receipt, sent, sound

NONE_MAY_FAIL = Tolerance(count=0)


def test_the_number_of_items_can_be_said_and_said_again(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "ooo")
    assert claim.set_total(3).total == 3
    assert claim.set_total(3) == ledger.scatter(claim.uid)


def test_another_number_of_items_than_before_means_that_the_input_changed(ledger: Ledger) -> None:
    claim = claimed(ledger, total=5)
    with pytest.raises(ItemsChanged, match=r"has 4 items.*counted 5"):
        claim.set_total(4)
    assert ledger.scatter(claim.uid).total == 5


def test_an_input_that_ends_before_what_is_committed_changed(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "oo")
    done(claim, 10, "ooo")
    with pytest.raises(ItemsChanged, match=r"ended after 12 items.*up to 12"):
        claim.set_total(12)
    assert ledger.scatter(claim.uid).total is None
    assert claim.set_total(13).total == 13


def test_a_scatter_whose_account_closes_succeeds(ledger: Ledger) -> None:
    claim = claimed(ledger, total=5)
    done(claim, 2, "oos")
    done(claim, 0, "oo")
    left = sent(claim, 0, 2, why="speculative")
    row = claim.finish(NONE_MAY_FAIL)
    assert (row.state, row.owner, row.lease_until, row.message) == ("succeeded", None, None, None)
    assert row == ledger.scatter(claim.uid)
    assert row.ended_at is not None
    with pytest.raises(Fenced, match="has ended: succeeded"):
        claim.commit([receipt(left)])
    sound(ledger)


def test_an_empty_scatter_succeeds(ledger: Ledger) -> None:
    claim = claimed(ledger)
    claim.set_total(0)
    assert claim.finish(NONE_MAY_FAIL).state == "succeeded"
    sound(ledger)


def test_a_scatter_with_a_gap_goes_on_running(ledger: Ledger) -> None:
    claim = claimed(ledger, total=5)
    done(claim, 0, "oo")
    done(claim, 3, "oo")
    assert claim.finish(NONE_MAY_FAIL).state == "running"
    done(claim, 2, "o")
    assert claim.finish(NONE_MAY_FAIL).state == "succeeded"


def test_a_scatter_whose_end_is_not_known_goes_on_running(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "oo")
    assert claim.finish(NONE_MAY_FAIL).state == "running"


@pytest.mark.parametrize("layer", [0, 2])
def test_a_scatter_with_a_suspect_chunk_goes_on_running(ledger: Ledger, layer: int) -> None:
    claim = claimed(ledger, total=2)
    done(claim, 0, "of")
    claim.release()
    second = ledger.acquire(claim.uid, owner(2))
    done(second, 1, "o", layer=2)
    suspect = next(row for one in ledger.merged(claim.uid) for row in (one.base, *one.overlays) if row.layer == layer)
    ledger.suspect(suspect)
    assert second.finish(NONE_MAY_FAIL).state == "running"


def test_a_scatter_with_as_many_failures_as_may_be_succeeds_and_with_one_more_fails(ledger: Ledger) -> None:
    claim = claimed(ledger, total=4)
    done(claim, 0, "offo")
    left = sent(claim, 0, 4, why="speculative")
    row = claim.finish(Tolerance(share=0.25))
    assert (row.state, row.message) == ("failed", "2 of 4 items failed; 1 may (tolerate=)")
    assert row == ledger.scatter(claim.uid)
    with pytest.raises(Fenced, match="has ended: failed"):
        claim.commit([receipt(left)])
    sound(ledger)
    assert ledger.acquire(claim.uid, owner(2)).finish(Tolerance(share=0.5)).state == "succeeded"
    sound(ledger)


def test_a_scatter_whose_counters_are_wrong_does_not_succeed(ledger: Ledger) -> None:
    claim = claimed(ledger, total=2)
    done(claim, 0, "oo")
    with ledger.database.engine.begin() as conn:
        conn.execute(update(scatter).values(n_ok=3))
    with pytest.raises(LedgerError, match=f"manifold verify {claim.uid}"):
        claim.finish(NONE_MAY_FAIL)
    assert ledger.scatter(claim.uid).state == "running"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_scatter_can_be_ended_as_it_is_and_what_is_committed_stays(ledger: Ledger, state: str) -> None:
    claim = claimed(ledger, total=9)
    done(claim, 0, "oof")
    left = sent(claim, 3, 6)
    row = claim.end(state, "somebody wanted\0it")  # type: ignore[arg-type]
    assert (row.state, row.message, row.done, row.owner) == (state, "somebody wanted\\x00it", 3, None)
    assert row == ledger.scatter(claim.uid)
    sound(ledger)
    second = ledger.acquire(claim.uid, owner(2))
    assert second.commit([receipt(left)]).won == [False], "it was voided"
    assert dump(ledger)["attempt"]
