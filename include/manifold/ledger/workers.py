"""The workers of a scatter, as its coordinator sees them; for display."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, literal, select, true

from manifold.ledger.rowset import ROWS, packed, rowset
from manifold.ledger.tables import insert_into, worker
from manifold.protocol.records import Receipt, WorkerInfo


def see_workers(
    conn: Connection, uid: str, now: float, workers: Sequence[WorkerInfo], fresh: Sequence[Receipt]
) -> None:
    """Count what is `fresh` for the workers that did it, and write down what the engine says of `workers`."""
    tallies: dict[str, dict[str, Any]] = {}
    for one in fresh:
        start = {"uid": uid, "worker": one.worker, "holding": [], "last_seen": now, "items": 0, "chunks": 0}
        tally = tallies.setdefault(one.worker, start | {"host": one.host, "pid": one.pid})
        tally["items"] += one.n_ok + one.n_failed + one.n_skipped
        tally["chunks"] += 1
    if tallies:
        conn.execute(_count_workers(conn.dialect.name), {ROWS: packed(list(tallies.values()))})
    if workers:
        values = {
            one.name: {"uid": uid, "worker": one.name, "host": one.host, "pid": one.pid, "last_seen": now - one.silence}
            | {"holding": list(one.holding), "items": 0, "chunks": 0, "done": one.done}
            for one in workers
        }
        conn.execute(_describe_workers(conn.dialect.name), list(values.values()))


@cache
def _count_workers(dialect: str) -> Insert:
    names = ("uid", "worker", "host", "pid", "last_seen", "holding", "items", "chunks")
    given = rowset(dialect, worker, names)
    new = insert_into(dialect, worker).from_select(names, select(*(given.c[name] for name in names)).where(true()))
    sums = {name: worker.c[name] + new.excluded[name] for name in ("items", "chunks")}
    # What was done of the chunk that it ran counts as committed now; the next look says how far the others are.
    sums |= {name: new.excluded[name] for name in ("host", "pid", "last_seen")} | {"done": literal(0)}
    return new.on_conflict_do_update(index_elements=["uid", "worker"], set_=sums)


@cache
def _describe_workers(dialect: str) -> Insert:
    new = insert_into(dialect, worker)
    news = {name: new.excluded[name] for name in ("host", "pid", "last_seen", "holding", "done")}
    return new.on_conflict_do_update(index_elements=["uid", "worker"], set_=news)
