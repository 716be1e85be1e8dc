"""The tries at a scatter: each is written down when it begins and when it ends, in the transaction that does so."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, case, func, insert, select, update

from manifold.ledger.rows import Ending, Owner, TryRow, built, columns, stored
from manifold.ledger.states import LOST
from manifold.ledger.tables import chunk, scatter, scatter_try
from manifold.protocol.records import ScatterRow

LEASE = 30.0
"""Seconds that others wait for an owner that does not report. Every write of the owner renews it."""

_WHY, _MESSAGE = 500, 2000  # characters kept


def begin_try(conn: Connection, row: ScatterRow, owner: Owner, now: float) -> None:
    """Write down that `owner` coordinates the scatter from now on; `row` is as it stands since."""
    values = {
        "uid": row.uid,
        "epoch": row.epoch,
        "owner": stored(owner.text, _WHY),
        "owner_key": owner.claim_key,
        "claim_no": owner.claim_no,
        "claims": owner.claims,
        "host": owner.host,
        "pid": owner.pid,
        "mode": owner.mode,
        "why": stored(owner.why, _WHY),
        "began_seq": row.seq,
        "began_at": now,
    }
    conn.execute(insert(scatter_try), values)


def end_try(
    conn: Connection, uid: str, now: float, ending: Ending, message: str | None, *, before: int | None = None
) -> None:
    """Write down how the try that still runs has ended. `before`: only one of an older epoch than that."""
    of = scatter_try.c
    running = [of.uid == uid, of.ended_at.is_(None)] + ([of.epoch < before] if before is not None else [])
    items, chunks = _done_since(conn, uid, select(func.min(of.began_seq)).where(*running).scalar_subquery())
    told = message and stored(message, _MESSAGE)
    done = {"ended_at": now, "ending": ending, "message": told, "items": items, "chunks": chunks}
    conn.execute(update(scatter_try).where(*running).values(done))


def explain_try(conn: Connection, uid: str, epoch: int, what: str) -> None:
    """Add a clause to what a try does, for people; nothing where it stands there already."""
    of = scatter_try.c
    here = of.uid == uid, of.epoch == epoch
    why = conn.execute(select(of.why).where(*here)).scalar() or ""
    if what not in why:
        conn.execute(update(scatter_try).where(*here).values(why=stored(f"{why}; {what}" if why else what, _WHY)))


def hold_up_try(conn: Connection, row: ScatterRow, why: str | None) -> None:
    """Write down what holds a try up that runs; None: nothing does any more."""
    of = scatter_try.c
    running = of.uid == row.uid, of.epoch == row.epoch, of.ended_at.is_(None)
    conn.execute(update(scatter_try).where(*running).values(message=why and stored(why, _MESSAGE)))


def read_tries(conn: Connection, uid: str, now: float) -> list[TryRow]:
    """The tries, the newest first. One whose coordinator does not report any more reads as lost."""
    of = scatter_try.c
    asked = select(*columns(scatter_try, TryRow), of.began_seq).where(of.uid == uid).order_by(of.epoch.desc())
    found = conn.execute(asked).all()
    rows = [built(TryRow, one) for one in found]
    if rows and rows[0].ended_at is None:
        items, chunks = _done_since(conn, uid, found[0][-1])
        rows[0] = msgspec.structs.replace(rows[0], items=items, chunks=chunks)
        lease = conn.execute(select(scatter.c.lease_until).where(scatter.c.uid == uid)).scalar()
        if lease is None or lease <= now:
            heard = rows[0].began_at if lease is None else lease - LEASE
            rows[0] = msgspec.structs.replace(rows[0], ended_at=heard, ending="lost", message=LOST)
    return rows


def worked(conn: Connection, uids: list[str], now: float) -> dict[str, float]:
    """Seconds that each scatter's tries took together, without the time between them."""
    of = scatter_try.c
    heard = select(scatter.c.lease_until - LEASE).where(scatter.c.uid == of.uid).scalar_subquery()
    alive = select(scatter.c.lease_until).where(scatter.c.uid == of.uid).scalar_subquery() > now
    ended = func.coalesce(of.ended_at, case((alive, now), else_=func.coalesce(heard, of.began_at)))
    took = case((ended > of.began_at, ended - of.began_at), else_=0.0)
    asked = select(of.uid, func.sum(took)).where(of.uid.in_(uids)).group_by(of.uid)
    return {uid: float(seconds) for uid, seconds in conn.execute(asked)}


def _done_since(conn: Connection, uid: str, seq: Any) -> tuple[int, int]:
    """Items and chunks that were committed after `seq`."""
    of = chunk.c
    asked = select(func.coalesce(func.sum(of.n_ok + of.n_failed + of.n_skipped), 0), func.count())
    items, chunks = conn.execute(asked.where(of.uid == uid, of.seq > seq)).one()
    return int(items), int(chunks)
