"""Every invariant can be broken by hand, and is then found."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from sqlalchemy import text

from manifold.ledger import Ledger, verify, verify_blobs
from manifold.policy import Tolerance
from manifold.protocol import envelope
from tests.ledger.made import Shelf, claim_rows, claimed, done, owner, receipt, sent

KEYRING = envelope.Keyring({"k1": b"0123456789abcdef"})


@pytest.fixture
def sound_ledger(ledger: Ledger) -> Ledger:
    """A ledger with a scatter that succeeded after a redrive, and another that runs."""
    claim = claimed(ledger, total=10)
    done(claim, 0, "oofoo")
    done(claim, 5, "ofsoo")
    claim.release()
    second = ledger.acquire(claim.uid, owner(2))
    done(second, 2, "o", layer=2)
    done(second, 6, "f", layer=2)
    assert second.finish(Tolerance(count=1)).state == "succeeded"
    other = claimed(ledger, "trains")
    done(other, 20, "of")
    sent(other, 0, 10)
    return ledger


def test_a_sound_ledger_has_no_violation(sound_ledger: Ledger) -> None:
    assert verify(sound_ledger) == []


FLIGHTS = "(SELECT uid FROM scatter WHERE name = 'flights')"
BASE = f"uid = {FLIGHTS} AND layer = 0"
RERUN = f"uid = {FLIGHTS} AND layer = 2"


@pytest.mark.parametrize(
    ("invariant", "statement"),
    [
        ("I1", f"UPDATE chunk SET stop = 6 WHERE {BASE} AND start = 0"),
        ("I1", f"UPDATE chunk SET start = 4 WHERE {BASE} AND start = 5"),
        ("I2", "UPDATE scatter SET total = NULL WHERE name = 'flights'"),
        ("I2", "UPDATE scatter SET total = 11 WHERE name = 'flights'"),
        ("I2", f"UPDATE chunk SET start = 1 WHERE {BASE} AND start = 0"),
        ("I2", f"DELETE FROM chunk WHERE {BASE} AND start = 5"),
        ("I2", f"UPDATE chunk SET start = start + 1, stop = stop + 1 WHERE {BASE} AND start = 5"),
        ("I2", "UPDATE scatter SET state = 'succeeded' WHERE name = 'trains'"),
        ("I3", "UPDATE scatter SET n_ok = n_ok + 1 WHERE name = 'flights'"),
        ("I3", "UPDATE scatter SET n_failed = 2 WHERE name = 'flights'"),
        ("I3", "UPDATE scatter SET n_skipped = 0 WHERE name = 'flights'"),
        ("I3", f"DELETE FROM failure WHERE uid = {FLIGHTS}"),
        ("I3", f"UPDATE failure SET pos = 7 WHERE uid = {FLIGHTS}"),
        ("I3", f"UPDATE failure SET layer = 0 WHERE uid = {FLIGHTS}"),
        ("I3", f"UPDATE chunk SET n_ok = n_ok - 1 WHERE {BASE} AND start = 0"),
        ("I3", f"UPDATE chunk SET outcome = 'o3f1o1' WHERE {BASE} AND start = 0"),
        ("I3", f"UPDATE chunk SET outcome = NULL WHERE {BASE} AND start = 0"),
        ("I3", f"UPDATE chunk SET outcome = 'o2f1' WHERE {BASE} AND start = 0"),
        ("I3", f"UPDATE chunk SET outcome = 'nonsense' WHERE {RERUN} AND start = 2"),
        ("I3", f"UPDATE chunk SET outcome = 'o2f1.2', n_ok = 2 WHERE {BASE} AND start = 0"),
        ("I4", f"UPDATE chunk SET start = 3, stop = 4 WHERE {RERUN} AND start = 2"),
        ("I4", f"UPDATE chunk SET start = 7, stop = 8 WHERE {RERUN} AND start = 6"),
        ("I4", f"UPDATE chunk SET start = 4, outcome = '.2f1', stop = 7 WHERE {RERUN} AND start = 6"),
        ("I4", f"UPDATE chunk SET start = 50, stop = 51 WHERE {RERUN} AND start = 2"),
        ("I5", f"UPDATE chunk SET blob_key = NULL WHERE {BASE} AND start = 0"),
        ("I5", f"UPDATE chunk SET blob_key = 'k' WHERE {RERUN} AND start = 6"),
        ("I5", f"UPDATE chunk SET fail_key = NULL WHERE {BASE} AND start = 0"),
        ("I5", f"UPDATE chunk SET fail_key = 'k' WHERE {RERUN} AND start = 2"),
        ("I6", f"UPDATE attempt SET state = 'open' WHERE uid = {FLIGHTS} AND start = 0"),
        ("I6", f"UPDATE attempt SET state = 'void' WHERE uid = {FLIGHTS} AND start = 0"),
        ("I6", f"DELETE FROM attempt WHERE uid = {FLIGHTS} AND start = 0"),
        ("I6", "UPDATE scatter SET state = 'cancelled' WHERE name = 'trains'"),
        ("I6", f"UPDATE chunk SET epoch = 3 WHERE {BASE} AND start = 0"),
        ("I6", f"UPDATE chunk SET layer = 1 WHERE {RERUN} AND start = 2"),
        ("I6", f"UPDATE chunk SET seq = 99 WHERE {BASE} AND start = 0"),
        ("I6", f"DROP INDEX chunk_seq; UPDATE chunk SET seq = 1 WHERE uid = {FLIGHTS}"),
        ("I6", "DELETE FROM scatter WHERE name = 'trains'"),
    ],
)
def test_a_broken_invariant_is_found(sound_ledger: Ledger, invariant: str, statement: str) -> None:
    uids = {row.uid for row in sound_ledger.scatters()}
    with sound_ledger.database.engine.begin() as conn:
        for one in statement.split(";"):
            conn.execute(text(one))
    found = verify(sound_ledger)
    assert invariant in {violation.invariant for violation in found}
    assert {violation.uid for violation in found} <= uids
    (culprit,) = {violation.uid for violation in found}
    assert set(verify(sound_ledger, culprit)) == set(found)
    assert [other for other in uids - {culprit} if verify(sound_ledger, other)] == []


@dataclass
class Deep:
    """A scatter whose two chunks have blobs."""

    ledger: Ledger
    uid: str
    store: Shelf

    def violations(self, *, collected: bool = False) -> list[str]:
        found = verify_blobs(self.ledger, self.uid, self.store, collected=collected)
        assert {violation.invariant for violation in found} <= {"I7"}
        return [violation.text for violation in found]


@pytest.fixture
def deep(ledger: Ledger) -> Deep:
    claim, store = claimed(ledger), Shelf()
    prefix = f"{ledger.uuid}/{claim.uid}"
    for start in (0, 2):
        attempt = sent(claim, start, start + 2)
        told = receipt(attempt, "of")
        keys: dict[str, str] = {}
        for name, kind in (("blob", "r"), ("fail", "f")):
            header = envelope.Header("result", claim.uid, "k1", attempt=attempt.id)
            sealed = envelope.seal(KEYRING, header, f"{start}{kind}".encode())
            key = f"{prefix}/{start:016x}-{start + 2:016x}.{attempt.id}.n1.{kind}"
            store.put(key, sealed)
            keys |= {f"{name}_key": key, f"{name}_digest": envelope.sealed_digest(sealed)}
        claim.commit([msgspec.structs.replace(told, **keys)])
    store.put(f"{prefix}/function.1", b"code")
    claim.describe(fn_key=f"{prefix}/function.1")
    return Deep(ledger, claim.uid, store)


def test_blobs_that_are_all_there_are_no_violation(deep: Deep) -> None:
    assert deep.violations(collected=True) == []


@pytest.mark.parametrize("field", ["blob_key", "fail_key"])
def test_a_blob_that_is_gone_cut_short_or_another_is_a_violation(deep: Deep, field: str) -> None:
    row = deep.ledger.chunks(deep.uid)[0]
    key, other = getattr(row, field), getattr(deep.ledger.chunks(deep.uid)[1], field)
    whole = deep.store.held[key]
    for data, text_ in ((None, "no such key"), (whole[:9], "cut short"), (deep.store.held[other], "digest")):
        deep.store.held[key] = whole
        if data is None:
            deep.store.delete(key)
        else:
            deep.store.held[key] = data
        (violation,) = deep.violations()
        assert text_ in violation
        assert key in violation


def test_whoever_knows_a_blobs_inside_may_complain_about_it(deep: Deep) -> None:
    found = verify_blobs(
        deep.ledger, deep.uid, deep.store, lambda row, key, data: "odd" if row.start and key.endswith(".r") else None
    )
    assert [violation.text.endswith(": odd") for violation in found] == [True]


def test_a_key_of_no_chunk_is_a_violation_only_after_gc(deep: Deep) -> None:
    deep.store.put(f"{deep.ledger.uuid}/{deep.uid}/stray", b"")
    assert deep.violations() == []
    assert deep.violations(collected=True) == [f"{deep.ledger.uuid}/{deep.uid}/stray is of no chunk"]


def test_verification_reads_one_moment_beside_an_owner_that_writes(ledger_url: str, ledger: Ledger) -> None:
    from manifold.ledger import open_ledger

    claim, beside = claimed(ledger), open_ledger(ledger_url)
    for start in range(0, 30, 2):
        attempt = sent(claim, start, start + 2)
        claim.commit([receipt(attempt, "of")])
        assert verify(beside) == []
    assert len(claim_rows(claim)) == 15
    beside.close()
