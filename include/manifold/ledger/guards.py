"""The conditions under which a write of the ledger may happen, each by itself, so that each can be tested alone.

Those of a commit are SQL over the chunk rows that are to be inserted (`given.c.uid`, `given.c.layer`, …).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from sqlalchemy import FromClause, Insert, and_, func, insert, literal_column, or_, select
from sqlalchemy.sql.elements import ColumnElement

from manifold.ledger.rows import Owner
from manifold.ledger.rowset import rowset
from manifold.ledger.tables import attempt, chunk, scatter
from manifold.protocol.records import ChunkRow

T = TypeVar("T")


def mine(uid: str, epoch: int, token: str) -> ColumnElement[bool]:
    """No other coordinator has taken the scatter over, and it has not ended.

    A database that loses an acquire in a failover gives the same epoch to another coordinator: the token tells them
    apart.
    """
    of = scatter.c
    return and_(of.uid == uid, of.epoch == epoch, of.owner_token == token, of.state == "running")


def not_replaced() -> ColumnElement[bool]:
    """No fresh start has taken its place."""
    return scatter.c.state != "replaced"


def free(owner: Owner, dead: str | None, now: float) -> ColumnElement[bool]:
    """Nobody owns the scatter, or nobody alive, or an earlier try of the same task."""
    of = scatter.c
    ways = [of.owner.is_(None), of.lease_until < now]
    if owner.claim_key is not None:
        ways.append(and_(of.owner_key == owner.claim_key, of.claim_no < owner.claim_no))
    if dead is not None:
        ways.append(of.owner_token == dead)
    return or_(*ways)


def of_older_epoch() -> ColumnElement[bool]:
    """The coordinator that waits for the attempt has been followed by another."""
    epoch = select(scatter.c.epoch).where(scatter.c.uid == attempt.c.uid).scalar_subquery()
    return waited_for_by() < epoch


def waited_for_by() -> ColumnElement[int]:
    """The epoch of the coordinator that an attempt's receipt is for: who sent it, or who has adopted it."""
    return func.coalesce(attempt.c.adopted, attempt.c.epoch)


def attempt_is_open(given: FromClause) -> ColumnElement[bool]:
    """The chunk was really sent, as it comes back or longer, and nobody has voided it or taken its place."""
    of, new = attempt.c, given.c
    same = and_(of.uid == new.uid, of.layer == new.layer, of.start == new.start, of.stop >= new.stop)
    # Looked up by the id alone: a planner without statistics would walk through all the open ones.
    row = select(and_(same, of.epoch == new.epoch, of.state == "open")).where(of.id == new.attempt)
    return row.correlate(given).scalar_subquery()


def _last(given: FromClause, *where: ColumnElement[bool]) -> ColumnElement[int]:
    """Where the last chunk ends for which that holds; 0 where there is none."""
    found = select(chunk.c.stop).where(chunk.c.uid == given.c.uid, *where).order_by(chunk.c.start.desc())
    return func.coalesce(found.limit(literal_column("1")).correlate(given).scalar_subquery(), 0)


def nothing_is_there(given: FromClause) -> ColumnElement[bool]:
    """No committed chunk of the layer overlaps it.

    Committed chunks are disjoint, so only the last one that begins before `stop` can: one probe of the primary key,
    however many rows there are.
    """
    new = given.c
    return _last(given, chunk.c.layer == new.layer, chunk.c.start < new.stop) <= new.start


def within_total(given: FromClause) -> ColumnElement[bool]:
    """It does not reach past the end of the input, where that is known."""
    return func.coalesce(_of_scatter(given, scatter.c.total), given.c.stop) >= given.c.stop


def inside_one_base_chunk(given: FromClause) -> ColumnElement[bool]:
    """An overlay lies inside one chunk of the base (which may have been withdrawn meanwhile)."""
    new = given.c
    return or_(new.layer == 0, _last(given, chunk.c.layer == 0, chunk.c.start <= new.start) >= new.stop)


def layer_is_of_this_epoch(given: FromClause) -> ColumnElement[bool]:
    """A re-run counts only in the epoch that chose its items; a base chunk of an older epoch is as good as any."""
    return or_(given.c.layer == 0, _of_scatter(given, scatter.c.epoch) == given.c.layer)


def _of_scatter(given: FromClause, column: ColumnElement[T]) -> ColumnElement[T]:
    return select(column).where(scatter.c.uid == given.c.uid).correlate(given).scalar_subquery()


Guard = Callable[[FromClause], ColumnElement[bool]]

COMMIT: tuple[Guard, ...] = (
    attempt_is_open,
    nothing_is_there,
    within_total,
    inside_one_base_chunk,
    layer_is_of_this_epoch,
)


@cache
def insert_chunks(dialect: str, conditions: tuple[Guard, ...]) -> Insert:
    """The statement that commits those of the given chunks for which all conditions hold.

    The given ones must not overlap each other: none of them is there yet while the conditions are looked at.
    """
    names = ChunkRow.__struct_fields__
    given = rowset(dialect, chunk, names)
    values = select(*(given.c[name] for name in names)).where(*(condition(given) for condition in conditions))
    # To sort them is to look at all before one is inserted: each probe would walk over those that were just before it.
    return insert(chunk).from_select(names, values.order_by(given.c.start), include_defaults=False)
