"""The conditions under which a write of the ledger may happen, each by itself, so that each can be tested alone.

Those of a commit are SQL over the parameters of the chunk row to be inserted (`:uid`, `:layer`, `:start`, …).
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Insert, and_, bindparam, exists, func, insert, literal_column, or_, select, true
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from manifold.ledger.rows import Owner
from manifold.ledger.tables import attempt, chunk, scatter
from manifold.protocol.records import ChunkRow


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


def _param(name: str) -> BindParameter[int]:
    return bindparam(name, type_=chunk.c[name].type)


def attempt_is_open() -> ColumnElement[bool]:
    """The chunk was really sent, as it comes back or longer, and nobody has voided it or taken its place."""
    return exists(
        select(literal_column("1")).where(
            attempt.c.id == _param("attempt"),
            attempt.c.uid == _param("uid"),
            attempt.c.layer == _param("layer"),
            attempt.c.start == _param("start"),
            attempt.c.stop >= _param("stop"),
            attempt.c.epoch == _param("epoch"),
            attempt.c.state == "open",
        )
    )


def nothing_is_there() -> ColumnElement[bool]:
    """No committed chunk of the layer overlaps it.

    Committed chunks are disjoint, so only the last one that begins before `stop` can: one probe of the primary key,
    however many rows there are.
    """
    last = (
        select(chunk.c.stop)
        .where(chunk.c.uid == _param("uid"), chunk.c.layer == _param("layer"), chunk.c.start < _param("stop"))
        .order_by(chunk.c.start.desc())
        .limit(literal_column("1"))
        .subquery()
    )
    return ~exists(select(literal_column("1")).select_from(last).where(last.c.stop > _param("start")))


def within_total() -> ColumnElement[bool]:
    """It does not reach past the end of the input, where that is known."""
    return ~exists(select(literal_column("1")).where(scatter.c.uid == _param("uid"), scatter.c.total < _param("stop")))


def inside_one_base_chunk() -> ColumnElement[bool]:
    """An overlay lies inside one chunk of the base (which may have been withdrawn meanwhile)."""
    last = (
        select(chunk.c.stop)
        .where(chunk.c.uid == _param("uid"), chunk.c.layer == 0, chunk.c.start <= _param("start"))
        .order_by(chunk.c.start.desc())
        .limit(literal_column("1"))
        .subquery()
    )
    below = exists(select(literal_column("1")).select_from(last).where(last.c.stop >= _param("stop")))
    return or_(_param("layer") == 0, below)


def layer_is_of_this_epoch() -> ColumnElement[bool]:
    """A re-run counts only in the epoch that chose its items; a base chunk of an older epoch is as good as any."""
    current = exists(
        select(literal_column("1")).where(scatter.c.uid == _param("uid"), scatter.c.epoch == _param("layer"))
    )
    return or_(_param("layer") == 0, current)


COMMIT = (attempt_is_open, nothing_is_there, within_total, inside_one_base_chunk, layer_is_of_this_epoch)


def insert_chunk(conditions: Iterable[ColumnElement[bool]]) -> Insert:
    """The statement that commits a chunk, or inserts nothing where a condition does not hold."""
    names = ChunkRow.__struct_fields__
    values = select(*(bindparam(name, type_=chunk.c[name].type) for name in names))
    return insert(chunk).from_select(names, values.where(and_(true(), *conditions)), include_defaults=False)
