"""No guard of a commit may be missing: without it, a receipt counts that must not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from manifold.ledger import Claim, Ledger, commit, guards
from manifold.protocol.records import Receipt
from tests.ledger.made import claimed, done, planned, receipt, sent, sound
from tests.ledger.test_overlays import again


def never_sent(ledger: Ledger) -> tuple[Claim, Receipt]:
    claim = claimed(ledger)
    return claim, receipt(planned(claim, 0, 3))


def overlapping(ledger: Ledger) -> tuple[Claim, Receipt]:
    claim = claimed(ledger)
    late = sent(claim, 0, 3)
    done(claim, 2, "oo")
    return claim, receipt(late)


def beyond_the_end(ledger: Ledger) -> tuple[Claim, Receipt]:
    claim = claimed(ledger)
    late = sent(claim, 0, 3)
    claim.set_total(2)
    return claim, receipt(late)


def rerun_over_two_chunks(ledger: Ledger) -> tuple[Claim, Receipt]:
    claim = claimed(ledger)
    done(claim, 0, "f")
    done(claim, 1, "f")
    second = again(claim)
    return second, receipt(sent(second, 0, 2, layer=2), "oo")


def rerun_of_an_older_epoch(ledger: Ledger) -> tuple[Claim, Receipt]:
    claim = claimed(ledger)
    done(claim, 0, "f")
    third = again(again(claim), 3)
    late = msgspec.structs.replace(planned(third, 0, 1, layer=2), epoch=2)
    third.commit(attempts=[late])
    return third, receipt(late)


BAD: dict[guards.Guard, Callable[[Ledger], tuple[Claim, Receipt]]] = {
    guards.attempt_is_open: never_sent,
    guards.nothing_is_there: overlapping,
    guards.within_total: beyond_the_end,
    guards.inside_one_base_chunk: rerun_over_two_chunks,
    guards.layer_is_of_this_epoch: rerun_of_an_older_epoch,
}


def test_every_guard_has_its_bad_receipt() -> None:
    assert set(BAD) == set(guards.COMMIT)


@pytest.mark.parametrize("guard", guards.COMMIT, ids=lambda guard: guard.__name__)
def test_only_this_guard_keeps_its_bad_receipt_out(
    ledger: Ledger, guard: guards.Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, bad = BAD[guard](ledger)
    others = tuple(condition for condition in guards.COMMIT if condition is not guard)
    with monkeypatch.context() as patch:
        patch.setattr(commit, "GUARDS", others)
        assert claim.commit([bad]).won == [True]
    claim.release()


@pytest.mark.parametrize("guard", guards.COMMIT, ids=lambda guard: guard.__name__)
def test_with_all_guards_it_stays_out(ledger: Ledger, guard: guards.Guard) -> None:
    claim, bad = BAD[guard](ledger)
    assert claim.commit([bad]).won == [False]
    sound(ledger)
