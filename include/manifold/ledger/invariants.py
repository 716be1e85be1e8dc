"""The ledger's invariants as SQL: each rule a query of the rows that break it.

| | holds |
|---|---|
| I1 | committed chunks of a layer are disjoint |
| I2 | the base of a scatter that succeeded covers [0, total) exactly |
| I3 | counters are the sums of the chunks, each chunk's those of its outcome; failure rows are the items failed now |
| I4 | a re-run lies inside one base chunk, and touches only items that had failed below it |
| I5 | there is a blob iff something is ok, and a sidecar iff something failed |
| I6 | attempts, epochs, layers and sequence numbers fit together |

What an outcome's code says is not for SQL: `verify` decodes that.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from manifold.ledger.tables import attempt, chunk, failure, scatter
from manifold.protocol.records import TERMINAL


class Rule(NamedTuple):
    """A query of rows that break an invariant. The first column is the uid, the others go into the text."""

    invariant: str
    text: str
    broken: Select[Any]


@cache
def rules() -> tuple[Rule, ...]:
    """All of them."""
    return (
        _disjoint(),
        _covered(),
        _counted(),
        _chunk_counted(),
        _inside(),
        _kept("blob", chunk.c.blob_key, chunk.c.n_ok),
        _kept("sidecar", chunk.c.fail_key, chunk.c.n_failed),
        *_attempts(),
        *_numbers(),
    )


def _disjoint() -> Rule:
    previous = func.lag(chunk.c.stop).over(partition_by=(chunk.c.uid, chunk.c.layer), order_by=chunk.c.start)
    pairs = select(chunk.c.uid, chunk.c.layer, chunk.c.start, previous.label("previous")).subquery()
    overlap = select(pairs).where(pairs.c.previous > pairs.c.start)
    return Rule("I1", "layer {}: the chunk at {} begins before the one before it ends, at {}", overlap)


def _covered() -> Rule:
    of = chunk.c
    base = (
        select(of.uid, func.min(of.start).label("first"), func.max(of.stop).label("last"))
        .add_columns(func.sum(of.stop - of.start).label("size"))
        .where(of.layer == 0)
        .group_by(of.uid)
        .subquery()
    )
    total = scatter.c.total
    uncovered = or_(
        total.is_(None),
        func.coalesce(base.c.size, 0) != total,
        and_(total > 0, or_(base.c.first != 0, base.c.last != total)),
    )
    broken = (
        select(scatter.c.uid, total, base.c.size, base.c.first, base.c.last)
        .outerjoin(base, base.c.uid == scatter.c.uid)
        .where(scatter.c.state == "succeeded", uncovered)
    )
    return Rule("I2", "it succeeded with {} items, but its chunks cover {}, between {} and {}", broken)


def _counted() -> Rule:
    of = chunk.c
    settled = func.sum(of.n_ok + of.n_failed + of.n_skipped).filter(of.layer > 0)
    sums = (
        select(of.uid, func.sum(of.n_ok).label("ok"), func.sum(of.n_skipped).label("skipped"))
        .add_columns((func.sum(of.n_failed) - func.coalesce(settled, 0)).label("failed"))
        .group_by(of.uid)
        .subquery()
    )
    failures = select(failure.c.uid, func.count().label("rows")).group_by(failure.c.uid).subquery()
    ok, failed, skipped = (func.coalesce(sums.c[name], 0) for name in ("ok", "failed", "skipped"))
    rows = func.coalesce(failures.c.rows, 0)
    of = scatter.c
    wrong = or_(of.n_ok != ok, of.n_failed != failed, of.n_skipped != skipped, of.n_failed != rows)
    broken = (
        select(of.uid, of.n_ok, of.n_failed, of.n_skipped, ok, failed, skipped, rows)
        .outerjoin(sums, sums.c.uid == of.uid)
        .outerjoin(failures, failures.c.uid == of.uid)
        .where(wrong)
    )
    text = (
        "its counters say {} ok, {} failed, {} skipped; its chunks say {} ok, {} failed, {} skipped; "
        "there are {} failure rows"
    )
    return Rule("I3", text, broken)


def _chunk_counted() -> Rule:
    of = chunk.c
    broken = select(of.uid, of.start, of.stop, of.n_ok, of.n_failed, of.n_skipped).where(
        of.layer == 0, of.n_ok + of.n_failed + of.n_skipped != of.stop - of.start
    )
    return Rule("I3", "the chunk [{}, {}) counts {} ok, {} failed, {} skipped", broken)


def _inside() -> Rule:
    below = chunk.alias("below")
    last = (
        select(below.c.stop)
        .where(below.c.uid == chunk.c.uid, below.c.layer == 0, below.c.start <= chunk.c.start)
        .order_by(below.c.start.desc())
        .limit(1)
        .scalar_subquery()
    )
    broken = select(chunk.c.uid, chunk.c.layer, chunk.c.start, chunk.c.stop).where(
        chunk.c.layer > 0, func.coalesce(last, -1) < chunk.c.stop
    )
    return Rule("I4", "the re-run in layer {} of [{}, {}) does not lie inside one chunk", broken)


def _kept(what: str, key: ColumnElement[Any], count: ColumnElement[int]) -> Rule:
    wrong = or_(and_(key.is_(None), count > 0), and_(key.is_not(None), count == 0))
    broken = select(chunk.c.uid, chunk.c.layer, chunk.c.start, chunk.c.stop, count, key).where(wrong)
    return Rule("I5", f"layer {{}}: the chunk [{{}}, {{}}) has {{}} items for its {what} {{}}", broken)


def _attempts() -> list[Rule]:
    open_at_end = (
        select(attempt.c.uid, scatter.c.state, attempt.c.id, attempt.c.start, attempt.c.stop)
        .join(scatter, scatter.c.uid == attempt.c.uid)
        .where(attempt.c.state == "open", scatter.c.state.in_(sorted(TERMINAL)))
    )
    unwon = (
        select(chunk.c.uid, chunk.c.layer, chunk.c.start, chunk.c.stop, attempt.c.state)
        .outerjoin(attempt, attempt.c.id == chunk.c.attempt)
        .where(or_(attempt.c.state.is_(None), attempt.c.state != "won"))
    )
    return [
        Rule("I6", "it has ended ({}), but attempt {} of [{}, {}) is open", open_at_end),
        Rule("I6", "layer {}: the attempt of the chunk [{}, {}) is {}, not won", unwon),
    ]


def _numbers() -> list[Rule]:
    of = chunk.c
    joined = select(of.uid, of.layer, of.start, of.stop, of.epoch, scatter.c.epoch, of.seq, scatter.c.seq).outerjoin(
        scatter, scatter.c.uid == of.uid
    )
    ahead = or_(scatter.c.uid.is_(None), of.epoch > scatter.c.epoch, of.seq > scatter.c.seq)
    twice = select(of.uid, of.seq, func.count()).group_by(of.uid, of.seq).having(func.count() > 1)
    strange = select(of.uid, of.layer, of.start, of.stop, of.epoch).where(of.layer != 0, of.layer != of.epoch)
    return [
        Rule(
            "I6",
            "layer {}: the chunk [{}, {}) is of epoch {} (the scatter is at {}), number {} (of {})",
            joined.where(ahead),
        ),
        Rule("I6", "number {} is given to {} chunks", twice),
        Rule("I6", "layer {}: the chunk [{}, {}) is of epoch {}", strange),
    ]
