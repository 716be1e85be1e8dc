"""Withdrawal: committed chunks become gaps again, because their bytes are lost or their input changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection, delete, select, update

from manifold.errors import LedgerError
from manifold.ledger.commit import failure_values
from manifold.ledger.merged import MergedRow
from manifold.ledger.queries import overlay_chunks
from manifold.ledger.rows import built, columns
from manifold.ledger.tables import attempt, chunk, error_kind, failure, insert_into, scatter
from manifold.protocol import outcome
from manifold.protocol.records import ChunkRow, Failure, ScatterRow

WITHDRAWN = "manifold.withdrawn"
"""The fingerprint of items that are failed because the result of their re-run is gone, and of no error of theirs."""

_LOST = Failure(0, WITHDRAWN, "ResultsLost", "failed before; the result of its re-run was withdrawn")


def withdraw(conn: Connection, row: ScatterRow, which: ChunkRow, failures: Iterable[Failure]) -> ScatterRow:
    """The scatter without that chunk; as it was, if another chunk (or none) stands in its place by now."""
    asked = select(*columns(chunk, ChunkRow)).where(
        chunk.c.uid == row.uid,
        chunk.c.layer == which.layer,
        chunk.c.start == which.start,
        chunk.c.attempt == which.attempt,
    )
    found = conn.execute(asked).one_or_none()
    if found is None:
        return row
    victim = built(ChunkRow, found)
    if victim.layer == 0:
        return _withdraw_base(conn, row, victim)
    return _withdraw_overlay(conn, row, victim, {one.pos: one for one in failures})


def withdraw_epoch(conn: Connection, row: ScatterRow) -> ScatterRow:
    """The scatter without any chunk whose input was sent in the present epoch; none of that input counts later."""
    conn.execute(
        update(attempt)
        .where(attempt.c.uid == row.uid, attempt.c.state == "open", attempt.c.epoch == row.epoch)
        .values(state="void")
    )
    of_this = select(*columns(chunk, ChunkRow)).where(chunk.c.uid == row.uid, chunk.c.epoch == row.epoch)
    for found in conn.execute(of_this.order_by(chunk.c.layer.desc(), chunk.c.start)).all():
        row = withdraw(conn, row, built(ChunkRow, found), ())
    return row


def _withdraw_base(conn: Connection, row: ScatterRow, base: ChunkRow) -> ScatterRow:
    """A base chunk takes every re-run that lies over it along."""
    conn.execute(delete(chunk).where(chunk.c.uid == row.uid, chunk.c.layer == 0, chunk.c.start == base.start))
    if not base.n_failed:
        return _uncount(conn, row, (base,))
    overlays = overlay_chunks(conn, row.uid, base.start, base.stop, None)
    above = (chunk.c.uid == row.uid, chunk.c.layer > 0, chunk.c.start >= base.start, chunk.c.start < base.stop)
    conn.execute(delete(chunk).where(*above))
    conn.execute(
        delete(failure).where(failure.c.uid == row.uid, failure.c.pos >= base.start, failure.c.pos < base.stop)
    )
    # A re-run that is under way would lie over nothing.
    conn.execute(
        update(attempt)
        .where(attempt.c.uid == row.uid, attempt.c.state == "open", attempt.c.layer > 0)
        .where(attempt.c.start >= base.start, attempt.c.start < base.stop)
        .values(state="void")
    )
    return _uncount(conn, row, (base, *overlays))


def _withdraw_overlay(conn: Connection, row: ScatterRow, overlay: ChunkRow, failures: dict[int, Failure]) -> ScatterRow:
    """What the layers below say holds again: where no higher layer touched an item, it is failed as it was before."""
    conn.execute(
        delete(chunk).where(chunk.c.uid == row.uid, chunk.c.layer == overlay.layer, chunk.c.start == overlay.start)
    )
    here = (failure.c.uid == row.uid, failure.c.pos >= overlay.start, failure.c.pos < overlay.stop)
    conn.execute(delete(failure).where(*here, failure.c.layer == overlay.layer))
    told = set(conn.execute(select(failure.c.pos).where(*here)).scalars())
    values = [
        failure_values(
            row.uid,
            run.row.layer,
            run.row.epoch,
            run.row.worker,
            failures.get(position) or msgspec.structs.replace(_LOST, pos=position),
        )
        for run in _merged_over(conn, overlay).runs()
        if run.letter == outcome.FAILED
        for position in range(max(run.start, overlay.start), min(run.stop, overlay.stop))
        if position not in told
    ]
    if values:
        conn.execute(failure.insert(), values)
        kinds = {one["fingerprint"]: one for one in values}.values()
        conn.execute(
            insert_into(conn.dialect.name, error_kind).on_conflict_do_nothing(),
            [
                {name: one[name] for name in ("uid", "fingerprint", "type", "message")} | {"traceback": ""}
                for one in kinds
            ],
        )
    return _uncount(conn, row, (overlay,))


def _merged_over(conn: Connection, overlay: ChunkRow) -> MergedRow:
    """The base chunk that the overlay lies over, with what else lies over it."""
    below = (
        select(*columns(chunk, ChunkRow))
        .where(chunk.c.uid == overlay.uid, chunk.c.layer == 0, chunk.c.start <= overlay.start)
        .order_by(chunk.c.start.desc())
        .limit(1)
    )
    found = conn.execute(below).one_or_none()
    if found is None:
        raise LedgerError(f"scatter {overlay.uid}: a re-run lies over no chunk; see `manifold verify {overlay.uid}`")
    base = built(ChunkRow, found)
    above = overlay_chunks(conn, overlay.uid, base.start, base.stop, None)
    return MergedRow(base, tuple(sorted(above, key=lambda one: one.layer)))


def _uncount(conn: Connection, row: ScatterRow, gone: Sequence[ChunkRow]) -> ScatterRow:
    """The scatter without what these chunks had added to its counters."""
    settled = sum(one.n_ok + one.n_failed + one.n_skipped for one in gone if one.layer)
    changes = {
        "n_ok": row.n_ok - sum(one.n_ok for one in gone),
        "n_failed": row.n_failed - sum(one.n_failed for one in gone) + settled,
        "n_skipped": row.n_skipped - sum(one.n_skipped for one in gone),
    }
    conn.execute(update(scatter).where(scatter.c.uid == row.uid).values(changes))
    return msgspec.structs.replace(row, **changes)
