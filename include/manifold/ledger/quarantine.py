"""The failed items of one scatter for people: searched, paged, by kind of error."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from manifold.ledger.rows import FailureRow, KindRow, built, columns
from manifold.ledger.tables import chunk, error_kind, failure
from manifold.protocol.records import MAX_CHUNK, ChunkRow


class Searched(NamedTuple):
    """One page. `more`: there may be others past it."""

    failures: list[FailureRow]
    more: bool


def kinds(conn: Connection, uid: str, limit: int) -> list[KindRow]:
    """The kinds of errors that items are failed by now, the most frequent first."""
    count = func.count().label("count")
    counted = (
        select(failure.c.fingerprint, count)
        .where(failure.c.uid == uid)
        .group_by(failure.c.fingerprint)
        .order_by(count.desc(), failure.c.fingerprint)
        .limit(limit)
        .subquery()
    )
    of = error_kind.c
    asked = (
        select(of.fingerprint, of.type, of.message, of.traceback, counted.c.count)
        .join(counted, and_(of.uid == uid, of.fingerprint == counted.c.fingerprint))
        .order_by(counted.c.count.desc(), of.fingerprint)
    )
    return [built(KindRow, row) for row in conn.execute(asked)]


def search(
    conn: Connection, uid: str, *, after: int, limit: int, fingerprint: str | None = None, text: str | None = None
) -> Searched:
    """The failed items past position `after`, in order; those with `text` in key, message or item, or at it."""
    of = failure.c
    asked = select(*columns(failure, FailureRow)).where(of.uid == uid, of.pos > after)
    if fingerprint is not None:
        asked = asked.where(of.fingerprint == fingerprint)
    if text:
        ways = [one.icontains(text, autoescape=True) for one in (of.key, of.message, of.item_repr, of.type)]
        digits = text.replace(",", "")
        if digits.isascii() and digits.isdigit() and int(digits) < 2**63:
            ways.append(of.pos == int(digits))
        asked = asked.where(or_(*ways))
    found = [built(FailureRow, row) for row in conn.execute(asked.order_by(of.pos).limit(limit + 1))]
    return Searched(found[:limit], len(found) > limit)


def number(conn: Connection, uid: str, *, fingerprint: str | None, positions: list[int] | None) -> int:
    """How many items are failed now: of one kind, or of these."""
    asked = select(func.count()).select_from(failure).where(failure.c.uid == uid)
    if fingerprint is not None:
        asked = asked.where(failure.c.fingerprint == fingerprint)
    if positions is not None:
        asked = asked.where(failure.c.pos.in_(positions))
    return conn.execute(asked).scalar_one()


def failed_at(conn: Connection, uid: str, pos: int) -> FailureRow | None:
    """The failed item at that position; None where it is not failed (now)."""
    asked = select(*columns(failure, FailureRow)).where(failure.c.uid == uid, failure.c.pos == pos)
    found = conn.execute(asked).one_or_none()
    return built(FailureRow, found) if found is not None else None


def kind_of(conn: Connection, uid: str, fingerprint: str) -> KindRow | None:
    """One kind of error, without a count; None where it is not known."""
    of = error_kind.c
    asked = select(of.fingerprint, of.type, of.message, of.traceback).where(
        of.uid == uid, of.fingerprint == fingerprint
    )
    found = conn.execute(asked).one_or_none()
    return KindRow(*found, count=0) if found is not None else None


def chunk_at(conn: Connection, uid: str, layer: int, pos: int) -> ChunkRow | None:
    """The committed chunk of that layer that the position lies in."""
    of = chunk.c
    near = and_(of.uid == uid, of.layer == layer, of.start <= pos, of.start > pos - MAX_CHUNK, of.stop > pos)
    asked = select(*columns(chunk, ChunkRow)).where(near).order_by(of.start.desc()).limit(1)
    found = conn.execute(asked).one_or_none()
    return built(ChunkRow, found) if found is not None else None
