"""A commit costs the same statements however much it brings: what is per chunk must not be a statement."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from manifold.ledger import Claim, Ledger
from manifold.ledger.commit import apart
from manifold.protocol.records import Attempt, ChunkRow, Receipt
from tests.ledger.made import claim_rows, claimed, planned, receipt, sent, sound


def statements(claim: Claim, receipts: list[Receipt], attempts: list[Attempt]) -> list[str]:
    """What is sent to the database in one commit; a statement that is run for many parameters counts as often."""
    told: list[str] = []

    def tell(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, executemany: bool) -> None:
        told.extend([statement] * (len(parameters) if executemany else 1))

    engine = claim.ledger.database.engine
    event.listen(engine, "before_cursor_execute", tell)
    try:
        assert all(claim.commit(receipts, attempts).won)
    finally:
        event.remove(engine, "before_cursor_execute", tell)
    return told


def of_round(claim: Claim, begin: int, chunks: int) -> list[str]:
    """The statements of a round that commits so many chunks, of as many workers, and sends as many."""
    out = [planned(claim, begin + 2 * number, begin + 2 * number + 2) for number in range(chunks)]
    claim.commit(attempts=out)
    back = [receipt(attempt, worker=f"worker {number}") for number, attempt in enumerate(out)]
    later = begin + 1_000_000
    return statements(claim, back, [planned(claim, later + number, later + number + 1) for number in range(chunks)])


def test_a_round_of_many_chunks_takes_the_statements_of_a_round_of_one(ledger: Ledger) -> None:
    claim = claimed(ledger)
    few = of_round(claim, 0, 1)
    many = of_round(claim, 1000, 300)
    assert many == few
    assert len(claim_rows(claim)) == 301
    sound(ledger)


def test_chunks_that_overlap_in_one_commit_count_in_the_order_given(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempts = [sent(claim, start, stop) for start, stop in ((4, 6), (0, 3), (2, 5), (6, 8), (5, 7), (3, 4))]
    committed = claim.commit([receipt(attempt) for attempt in attempts])
    assert committed.won == [True, True, False, True, False, True]
    assert sorted((row.start, row.stop) for row in claim_rows(claim)) == [(0, 3), (3, 4), (4, 6), (6, 8)]
    sound(ledger)


def test_a_receipt_that_comes_twice_in_one_commit_counts_once(ledger: Ledger) -> None:
    claim = claimed(ledger)
    attempt, other = sent(claim, 0, 3), sent(claim, 3, 4)
    again = receipt(attempt, nonce="n2")
    committed = claim.commit([receipt(attempt), again, receipt(other)])
    assert committed.won == [True, False, True]
    assert committed.row.n_ok == 4
    sound(ledger)


@pytest.mark.parametrize(
    "text", ["nul \0 here", "a backslash before u0000: \\u0000", "\udce9 of a file name", "ü 'quoted' \"%s\" :x {}"]
)
def test_any_text_of_a_worker_is_committed(ledger: Ledger, text: str) -> None:
    claim = claimed(ledger)
    out = [sent(claim, 0, 1), sent(claim, 1, 2)]
    assert claim.commit([receipt(attempt, worker=text, host=text) for attempt in out]).won == [True, True]
    (shown,) = {row.worker for row in claim_rows(claim)}
    assert shown == text.replace("\0", "\\x00").replace("\udce9", "\\udce9")
    assert [one.worker for one in ledger.workers(claim.uid)] == [shown]


def test_numbers_arrive_as_they_are(ledger: Ledger) -> None:
    claim = claimed(ledger)
    start = 2**62 + 1
    out = sent(claim, start, start + 1)
    assert claim.commit([receipt(out, seconds=0.1 + 0.2, blob_bytes=2**53 + 1)]).won == [True]
    (row,) = claim_rows(claim)
    assert (row.start, row.seconds, row.blob_bytes) == (start, 0.1 + 0.2, 2**53 + 1)


def test_chunks_are_given_in_as_few_statements_as_may_be() -> None:
    def parts(*spans: tuple[int, int, int]) -> list[int]:
        rows = [_row(number, *span) for number, span in enumerate(spans)]
        return [len(some) for some in apart(rows)]

    assert parts() == []
    assert parts((0, 0, 5), (0, 5, 6), (0, 9, 12), (0, 6, 9)) == [4]
    assert parts((0, 0, 5), (0, 4, 6), (0, 6, 7)) == [1, 2]
    assert parts((0, 4, 6), (0, 0, 9)) == [1, 1]
    assert parts((0, 4, 6), (3, 4, 5), (3, 5, 6)) == [1, 2]


def _row(seq: int, layer: int, start: int, stop: int) -> ChunkRow:
    nothing = dict.fromkeys(ChunkRow.__struct_fields__)
    return ChunkRow(**(nothing | {"seq": seq, "layer": layer, "start": start, "stop": stop}))  # type: ignore[arg-type]
