"""Control requests."""

from __future__ import annotations

import pytest

from manifold.errors import LedgerError
from manifold.ledger import Ledger
from tests.ledger.made import claimed, new, owner
from tests.ledger.test_overlays import again


def verbs(ledger: Ledger, uid: str) -> list[str]:
    return [row.verb for row in ledger.pending_controls(uid)]


def test_a_request_is_pending_until_it_is_applied(ledger: Ledger) -> None:
    claim = claimed(ledger)
    first = ledger.control(claim.uid, "set", {"max_concurrency": 3}, "ada")
    second = ledger.control(claim.uid, "pause", by_whom="bob")
    assert (first, second) == (1, 2)
    request = ledger.pending_controls(claim.uid)[0]
    assert (request.no, request.epoch, request.value, request.by_whom) == (1, 1, {"max_concurrency": 3}, "ada")
    claim.applied(first)
    assert verbs(ledger, claim.uid) == ["pause"]
    claim.applied(first, second)
    assert verbs(ledger, claim.uid) == []


def test_cancel_and_drain_die_with_their_epoch_and_settings_outlive_it(ledger: Ledger) -> None:
    claim = claimed(ledger)
    numbers = [ledger.control(claim.uid, verb) for verb in ("set", "pause", "cancel", "drain")]
    claim.applied(numbers[0])
    second = again(claim)
    assert verbs(ledger, claim.uid) == ["set", "pause"]
    second.applied(*numbers[:2])
    assert verbs(ledger, claim.uid) == []
    again(second, 3)
    assert verbs(ledger, claim.uid) == ["set", "pause"]


def test_a_redrive_is_asked_of_a_scatter_that_ended_and_done_once(ledger: Ledger) -> None:
    claim = claimed(ledger)
    claim.end("failed", "too many")
    number = ledger.control(claim.uid, "redrive", {"only_error": "boom"})
    second = ledger.acquire(claim.uid, owner(2))
    assert verbs(ledger, claim.uid) == ["redrive"]
    second.applied(number)
    again(second, 3)
    assert verbs(ledger, claim.uid) == []


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "cancel", "set"])
def test_a_scatter_that_ended_takes_no_request_about_how_it_runs(ledger: Ledger, verb: str) -> None:
    claim = claimed(ledger)
    claim.end("cancelled", "enough")
    with pytest.raises(LedgerError, match=f"has ended \\(cancelled\\); there is nothing to {verb}"):
        ledger.control(claim.uid, verb)


def test_a_request_about_an_unknown_or_replaced_scatter_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no scatter nobody"):
        ledger.control("nobody", "pause")
    old = claimed(ledger)
    old.fresh(new())
    with pytest.raises(LedgerError, match="replaced"):
        ledger.control(old.uid, "redrive")


def test_requests_do_not_cross_to_another_scatter(ledger: Ledger) -> None:
    first, second = claimed(ledger), claimed(ledger, "trains")
    assert ledger.control(first.uid, "pause") == ledger.control(second.uid, "cancel") == 1
    first.applied(1)
    assert verbs(ledger, first.uid) == []
    assert verbs(ledger, second.uid) == ["cancel"]
