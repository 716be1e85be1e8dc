"""The figures of the whole ledger, for metrics: a handful of queries, whatever the number of chunks and items.

Of chunk rows only the newest of each living scatter is read, by its index; everything else comes from the rows of
scatters, their tallies, and the few attempts that are out.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Text, and_, case, cast, func, literal, select
from sqlalchemy.sql.elements import ColumnElement

from manifold.ledger.queries import Reader
from manifold.ledger.states import alive, condition
from manifold.ledger.tables import attempt, chunk, control, scatter, tally, worker
from manifold.ledger.tallies import sums_by_engine

HEARD = 30.0
"""Seconds without a sign of life after which a worker counts as gone. Coordinators write what they hear every 5 s."""

REMEMBERED = 3600.0
"""Seconds for which a host without a worker is still reported."""


class Stand(msgspec.Struct, frozen=True):
    """The scatters of one engine in one state. `state` is as people are shown it.
    `quarantined` counts the items that are failed now."""

    engine: str
    state: str
    scatters: int
    quarantined: int


class Living(msgspec.Struct, frozen=True):
    """A scatter with a living coordinator. `silence` is seconds since its latest commit, or since it was claimed."""

    uid: str
    engine: str
    policy: dict[str, Any]
    total: int | None
    done: int
    silence: float
    paused: bool
    in_flight: int = 0
    chunks: int = 0
    """Those that this and earlier tries have committed, with `items` items."""
    items: int = 0


class WorkersOfHost(msgspec.Struct, frozen=True):
    """The worker processes of one host, as coordinators have recorded them. `silence` is that of the latest."""

    engine: str
    host: str
    up: int
    busy: int
    silence: float


class Gauges(msgspec.Struct, frozen=True):
    """What the ledger says at one moment. `tallies` is by engine and name."""

    stands: list[Stand]
    living: list[Living]
    worker_groups: list[WorkersOfHost]
    tallies: dict[tuple[str, str], float]


def read(ledger: Reader) -> Gauges:
    """All of it as of one moment; raises LedgerError where the ledger does not answer."""
    now = ledger.now()

    def work(conn: Connection) -> Gauges:
        rows = conn.execute(sums_by_engine())
        return Gauges(
            stands=_stands(conn, now),
            living=_living(conn, now),
            worker_groups=_workers_of_hosts(conn, now),
            tallies={(engine, name): value for engine, name, value in rows},
        )

    return ledger.database.read(work)


def _stands(conn: Connection, now: ColumnElement[float]) -> list[Stand]:
    of = scatter.c
    each = select(of.engine, condition(now).label("state"), of.n_failed).where(of.state != "replaced").subquery().c
    asked = select(each.engine, each.state, func.count(), func.sum(each.n_failed)).group_by(each.engine, each.state)
    return [Stand(engine, state, n, int(failed)) for engine, state, n, failed in conn.execute(asked)]


def _living(conn: Connection, now: ColumnElement[float]) -> list[Living]:
    of = scatter.c
    newest = select(chunk.c.committed_at).where(chunk.c.uid == of.uid).order_by(chunk.c.seq.desc()).limit(1)
    verbs = select(control.c.verb).where(control.c.uid == of.uid, control.c.verb.in_(("pause", "resume")))
    paused = verbs.order_by(control.c.no.desc()).limit(1).scalar_subquery()
    since = case((newest.scalar_subquery() > of.claimed_at, newest.scalar_subquery()), else_=of.claimed_at)
    asked = select(
        of.uid,
        of.engine,
        of.policy,
        func.coalesce(of.total, of.expected).label("total"),
        (of.n_ok + of.n_failed + of.n_skipped).label("done"),
        (now - since).label("silence"),
        func.coalesce(paused == "pause", literal(False)).label("paused"),
    ).where(alive(now))
    rows = [Living(**row._asdict()) for row in conn.execute(asked)]
    uids = [row.uid for row in rows]
    out = dict(_pairs(conn, select(attempt.c.uid, func.count()).where(attempt.c.state == "open"), attempt.c.uid, uids))
    counted = select(tally.c.uid, func.sum(tally.c.value))
    items = dict(_pairs(conn, counted.where(tally.c.name.startswith("items:")), tally.c.uid, uids))
    buckets = tally.c.name.startswith("chunk_seconds:"), tally.c.name != "chunk_seconds:sum"
    chunks = dict(_pairs(conn, counted.where(*buckets), tally.c.uid, uids))
    return [
        msgspec.structs.replace(
            row,
            in_flight=int(out.get(row.uid, 0)),
            chunks=int(chunks.get(row.uid, 0)),
            items=int(items.get(row.uid, 0)),
        )
        for row in rows
    ]


def _pairs(conn: Connection, asked: Any, uid: Any, uids: list[str]) -> list[tuple[str, float]]:
    return [(one, value) for one, value in conn.execute(asked.where(uid.in_(uids)).group_by(uid))] if uids else []


def _workers_of_hosts(conn: Connection, now: ColumnElement[float]) -> list[WorkersOfHost]:
    """Each process once, however many scatters use it; of the scatters that somebody listens for."""
    up = worker.c.last_seen > now - HEARD
    busy = and_(up, cast(worker.c.holding, Text) != literal("[]"))
    asked = (
        select(
            scatter.c.engine,
            worker.c.host,
            func.count(case((up, worker.c.worker)).distinct()),
            func.count(case((busy, worker.c.worker)).distinct()),
            func.min(now - worker.c.last_seen),
        )
        .join(worker, worker.c.uid == scatter.c.uid)
        .where(alive(now), worker.c.last_seen > now - REMEMBERED)
        .group_by(scatter.c.engine, worker.c.host)
    )
    return [WorkersOfHost(*row) for row in conn.execute(asked)]
