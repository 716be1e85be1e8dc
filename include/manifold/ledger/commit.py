"""The commit: what receipts say becomes true, the first for each item; in one transaction, below the scatter's lock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Double, Insert, Update, and_, bindparam, delete, false, literal, select, true, update
from sqlalchemy.sql.elements import ColumnElement

from manifold.errors import LedgerError
from manifold.ledger import guards
from manifold.ledger.rows import Committed, stored
from manifold.ledger.rowset import ROWS, is_one_of, packed, rowset, texts
from manifold.ledger.tables import attempt, chunk, error_kind, failure, insert_into, scatter
from manifold.ledger.workers import see_workers
from manifold.protocol import outcome
from manifold.protocol.records import Attempt, ChunkRow, Failure, Receipt, ScatterRow, WorkerInfo

GUARDS = guards.COMMIT

_FROM_RECEIPT = [name for name in Receipt.__struct_fields__ if name in ChunkRow.__struct_fields__]
_FORGET_FAILURES = delete(failure).where(
    failure.c.uid == bindparam("of"), failure.c.pos >= bindparam("first"), failure.c.pos < bindparam("last")
)
# Statements of every commit are built once: to build one costs more than to run it.
_COMMITTED = select(
    *(chunk.c[name] for name in ("attempt", "seq", "start", "stop", "outcome", "blob_key", "fail_key"))
).where(chunk.c.uid == bindparam("of"), chunk.c.attempt.in_(bindparam("ids", expanding=True)))
_COUNT = (
    update(scatter)
    .where(scatter.c.uid == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in ("n_ok", "n_failed", "n_skipped", "seq")})
)
_IDS_AT_ONCE = 500  # parameters in one statement; old builds of SQLite take 999
_MESSAGE, _ITEM_REPR, _TRACEBACK, _KEY = 300, 1024, 20_000, 300  # characters kept


def commit(
    conn: Connection,
    row: ScatterRow,
    now: float,
    receipts: Sequence[Receipt],
    attempts: Sequence[Attempt],
    workers: Sequence[WorkerInfo],
) -> Committed:
    """Let each receipt count that may, and write down the attempts that are about to be sent.

    `row` is the scatter as it stands, locked. A receipt that already counted (its COMMIT was in doubt) is reported as
    won and changes nothing. Raises LedgerError for a receipt that contradicts itself.
    """
    won, fresh = _insert_chunks(conn, row, now, receipts)
    _settle_attempts(conn, row.uid, receipts, won)
    if fresh:
        _replace_failures(conn, fresh)
        row = _count(conn, row, fresh, len(receipts))
    write_attempts(conn, now, attempts)
    see_workers(conn, row.uid, now, workers, fresh)
    return Committed(won, row)


def _insert_chunks(
    conn: Connection, row: ScatterRow, now: float, receipts: Sequence[Receipt]
) -> tuple[list[bool], list[Receipt]]:
    """Which receipts count, and those of them that count since now."""
    values = []
    seqs = range(row.seq + 1, row.seq + 1 + len(receipts))
    for seq, receipt in zip(seqs, receipts, strict=True):
        _check(receipt, row.uid)
        touches = receipt.n_ok + receipt.n_failed + receipt.n_skipped > 0  # else it was stopped before its first item
        if touches and (receipt.layer == 0 or still_failed(conn, receipt)):
            copied = {name: getattr(receipt, name) for name in _FROM_RECEIPT}
            values.append(ChunkRow(**copied, seq=seq, suspect_at=None, committed_at=now))
    inserted = _inserted(conn, values)
    there = _committed(
        conn, row.uid, [receipt.attempt for seq, receipt in zip(seqs, receipts, strict=True) if seq not in inserted]
    )
    won, fresh = [], []
    for seq, receipt in zip(seqs, receipts, strict=True):
        mark = (receipt.start, receipt.stop, receipt.outcome, receipt.blob_key, receipt.fail_key)
        found = (seq, *mark) if seq in inserted else there.get(receipt.attempt)
        won.append(found is not None and found[1:] == mark)
        if found is not None and found[0] == seq:
            fresh.append(receipt)
    return won, fresh


def _inserted(conn: Connection, chunks: Sequence[ChunkRow]) -> set[int]:
    """Insert those that may count; return the seqs of which that is known already: where all of one statement did."""
    sure: set[int] = set()
    insert = guards.insert_chunks(conn.dialect.name, GUARDS)
    for some in apart(chunks):
        if conn.execute(insert, {ROWS: packed(some)}).rowcount == len(some):
            sure.update(one.seq for one in some)
    return sure


def apart(chunks: Sequence[ChunkRow]) -> Iterator[Sequence[ChunkRow]]:
    """Yield the chunks in as few statements as may be: those of one are of one layer and do not overlap.

    The order stays, so that the first of two that overlap counts.
    """
    begin = 0
    starts: list[int] = []
    stops: list[int] = []
    for index, one in enumerate(chunks):
        at = bisect_left(starts, one.start)
        overlaps = (at > 0 and stops[at - 1] > one.start) or (at < len(starts) and starts[at] < one.stop)
        if overlaps or one.layer != chunks[begin].layer:
            yield chunks[begin:index]
            begin, at = index, 0
            starts, stops = [], []
        starts.insert(at, one.start)
        stops.insert(at, one.stop)
    if chunks:
        yield chunks[begin:]


def _committed(conn: Connection, uid: str, attempts: list[str]) -> dict[str, tuple[Any, ...]]:
    """seq, range, outcome and keys of the chunks that these attempts have committed."""
    found: dict[str, tuple[Any, ...]] = {}
    for some in batches(attempts):
        rows = conn.execute(_COMMITTED, {"of": uid, "ids": some})
        found.update({one[0]: tuple(one[1:]) for one in rows})
    return found


def still_failed(conn: Connection, receipt: Receipt) -> bool:
    """Each item that the overlay touches is failed now, and failed in an older epoch."""
    held = conn.execute(
        select(failure.c.pos).where(
            failure.c.uid == receipt.uid,
            failure.c.pos >= receipt.start,
            failure.c.pos < receipt.stop,
            failure.c.epoch < receipt.epoch,
        )
    )
    return set(outcome.positions(receipt.outcome, receipt.start, receipt.stop, "ofs")) <= set(held.scalars())


def _settle_attempts(conn: Connection, uid: str, receipts: Sequence[Receipt], won: Sequence[bool]) -> None:
    """An attempt that won takes nothing more; neither does one that came back and lost."""
    dialect = conn.dialect.name
    for state, which in (("won", True), ("void", False)):
        ids = [receipt.attempt for receipt, counts in zip(receipts, won, strict=True) if counts is which]
        if ids:
            conn.execute(_settle(dialect), {"of": uid, ROWS: texts(dialect, ids), "to": state})


@cache
def _settle(dialect: str) -> Update:
    # Found by the id alone: a planner without statistics would walk through all the open ones.
    open_ = and_(attempt.c.uid == bindparam("of"), attempt.c.state == "open").is_(true())
    return update(attempt).where(is_one_of(dialect, attempt.c.id), open_).values(state=bindparam("to"))


def _replace_failures(conn: Connection, fresh: Iterable[Receipt]) -> None:
    """Make the failure rows those of the items that are failed now."""
    settled = [
        {"of": receipt.uid, "first": first, "last": last}
        for receipt in fresh
        if receipt.layer
        for letter, first, last in outcome.spans(receipt.outcome, receipt.start, receipt.stop)
        if letter != outcome.UNTOUCHED
    ]
    before = {pos: count for receipt in fresh if receipt.layer for pos, count in _attempts_before(conn, receipt)}
    if settled:
        conn.execute(_FORGET_FAILURES, settled)
    failures = [
        failure_values(receipt.uid, receipt.layer, receipt.epoch, receipt.worker, one, before.get(one.pos, 0))
        for receipt in fresh
        for one in receipt.failures
    ]
    if failures:
        conn.execute(failure.insert(), failures)
    kinds: dict[str, dict[str, str]] = {}
    for receipt in fresh:
        for one in receipt.failures:
            if one.fingerprint not in kinds:
                kinds[one.fingerprint] = {
                    "uid": receipt.uid,
                    "fingerprint": one.fingerprint,
                    "type": stored(one.type, _KEY),
                    "message": stored(one.message, _MESSAGE),
                    "traceback": stored(receipt.kinds.get(one.fingerprint, ""), _TRACEBACK),
                }
    if kinds:
        conn.execute(insert_into(conn.dialect.name, error_kind).on_conflict_do_nothing(), list(kinds.values()))


def _attempts_before(conn: Connection, receipt: Receipt) -> Iterable[tuple[int, int]]:
    """(position, executions) of the items of a re-run that failed again, as they were counted before it."""
    if not receipt.failures:
        return ()
    of = failure.c
    here = (of.uid == receipt.uid, of.pos >= receipt.start, of.pos < receipt.stop, of.layer < receipt.layer)
    return [(pos, count) for pos, count in conn.execute(select(of.pos, of.attempts).where(*here))]


def failure_values(uid: str, layer: int, epoch: int, by: str, one: Failure, before: int = 0) -> dict[str, Any]:
    """The columns of a failure row. `before`: executions that re-runs and the first run had before this one."""
    return {
        "uid": uid,
        "pos": one.pos,
        "layer": layer,
        "epoch": epoch,
        "fingerprint": one.fingerprint,
        "type": stored(one.type, _KEY),
        "message": stored(one.message, _MESSAGE),
        "attempts": before + one.attempts,
        "worker": by,
        "key": None if one.key is None else stored(one.key, _KEY),
        "item_repr": None if one.item_repr is None else stored(one.item_repr, _ITEM_REPR),
        "item_digest": one.item_digest,
    }


def _count(conn: Connection, row: ScatterRow, fresh: Sequence[Receipt], seqs: int) -> ScatterRow:
    """The scatter with what is new counted in. Each item of an overlay was failed, and is what it says now."""
    settled = sum(one.n_ok + one.n_failed + one.n_skipped for one in fresh if one.layer)
    changes = {
        "n_ok": row.n_ok + sum(one.n_ok for one in fresh),
        "n_failed": row.n_failed + sum(one.n_failed for one in fresh) - settled,
        "n_skipped": row.n_skipped + sum(one.n_skipped for one in fresh),
        "seq": row.seq + seqs,
    }
    conn.execute(_COUNT, {"of": row.uid, **{f"new_{name}": value for name, value in changes.items()}})
    return msgspec.structs.replace(row, **changes)


def write_attempts(conn: Connection, now: float, attempts: Sequence[Attempt]) -> None:
    """Write attempts down, those again that a COMMIT in doubt may have written already."""
    if attempts:
        conn.execute(_insert_attempts(conn.dialect.name), {ROWS: packed(attempts), "now": now})


@cache
def _insert_attempts(dialect: str) -> Insert:
    names = Attempt.__struct_fields__
    given = rowset(dialect, attempt, names)
    new: dict[str, ColumnElement[Any]] = {name: given.c[name] for name in names}
    new |= {"state": literal("open"), "started": false(), "died": false(), "sent_at": bindparam("now", type_=Double)}
    rows = select(*new.values()).where(true())  # without a condition, SQLite takes ON CONFLICT for part of a join
    return insert_into(dialect, attempt).from_select([*new], rows, include_defaults=False).on_conflict_do_nothing()


def _check(receipt: Receipt, uid: str) -> None:
    if receipt.uid != uid:
        raise LedgerError(f"the receipt of attempt {receipt.attempt} is of scatter {receipt.uid}, not of {uid}")
    try:
        counts = outcome.count(receipt.outcome, receipt.stop - receipt.start)
    except ValueError as exc:
        raise LedgerError(f"the receipt of attempt {receipt.attempt} is not readable: {exc}") from exc
    failed = sorted(one.pos for one in receipt.failures)
    if (
        (counts.ok, counts.failed, counts.skipped) != (receipt.n_ok, receipt.n_failed, receipt.n_skipped)
        or (counts.untouched and not receipt.layer)
        or (receipt.blob_key is None) != (counts.ok == 0)
        or (receipt.fail_key is None) != (counts.failed == 0)
        or failed != list(outcome.positions(receipt.outcome, receipt.start, receipt.stop, outcome.FAILED))
    ):
        raise LedgerError(
            f"the receipt of attempt {receipt.attempt} for items {receipt.start} to {receipt.stop - 1} contradicts "
            f"itself: {receipt.n_ok} ok, {receipt.n_failed} failed ({len(failed)} of them told), {receipt.n_skipped} "
            f"skipped, outcome {receipt.outcome}. This is a fault of Manifold; please report it"
        )


def batches(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """Yield the ids in as many as one statement takes."""
    return (ids[first : first + _IDS_AT_ONCE] for first in range(0, len(ids), _IDS_AT_ONCE))
