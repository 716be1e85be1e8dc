"""What a page shows of one scatter, counted by the database: sums and the newest rows, never all of them.

Each takes the connection of a read, so that several tell of one moment.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Connection, and_, case, func, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from manifold.ledger.guards import waited_for_by
from manifold.ledger.rows import AttemptRow, WorkerRow, built, columns
from manifold.ledger.states import LIVE, Condition, condition, reason
from manifold.ledger.tables import attempt, chunk, control, scatter, worker
from manifold.protocol.records import TERMINAL, ScatterRow
from manifold.rates import Work, mean_rate, recent_rate

SILENT = 20.0
"""Seconds after which a worker counts as gone: its coordinator looks every five, and misses two of its beats."""
_OPEN = 10_000  # open attempts that are read at the most; a window has some hundred


class Glance(msgspec.Struct, frozen=True):
    """One scatter at a glance. `key` is set for one of an Airflow task; `mark` changes whenever anything of it does."""

    row: ScatterRow
    condition: Condition
    reason: str | None
    key: str | None
    claimed_at: float | None
    mark: tuple[Any, ...]


class Recent(NamedTuple):
    """One of the newest commits."""

    ago: float
    items: int
    seconds: float
    worker: str


class Tally(NamedTuple):
    """Chunks by what became of them; `unsettled` were sent, and did not count so far."""

    committed: int
    unsettled: int
    speculative: int


class Pace(NamedTuple):
    """How fast a scatter is, in items per second, and what is left of its time, as far as that can be told."""

    rate: float | None
    seconds_left: float | None


class Ran(NamedTuple):
    """The chunks that began in one stretch of time and ended in another, or in the same."""

    first: int
    last: int
    items: int
    failed: int


class CellSum(NamedTuple):
    """The sums of the chunks that lie wholly in one cell. `failed` is what re-runs left of it."""

    number: int
    ok: int
    failed: int
    skipped: int


class Piece(NamedTuple):
    """A chunk that lies in more than one cell."""

    layer: int
    start: int
    stop: int
    outcome: str | None


class Sent(NamedTuple):
    """One sending of a chunk, and what was committed of it."""

    id: str
    layer: int
    start: int
    stop: int
    epoch: int
    state: str
    died: bool
    why: str
    sent_at: float | None
    worker: str | None
    committed_at: float | None
    seconds: float | None
    failed: int


class whole(FunctionElement[int]):
    """A number without what stands behind its point, rounded down; numbers are not below 0."""

    type = BigInteger()
    inherit_cache = True
    name = "whole"


@compiles(whole, "sqlite")
def _sqlite_whole(element: whole, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


@compiles(whole, "postgresql")
def _postgresql_whole(element: whole, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(FLOOR({compiler.process(element.clauses, **options)}) AS BIGINT)"


def glance(conn: Connection, uid: str, now: ColumnElement[float]) -> Glance | None:
    """The scatter as it stands; None where there is none, or a fresh start took its place."""
    of = scatter.c
    mine = control.c.uid == uid
    beside = (
        select(func.count()).where(mine).scalar_subquery(),
        select(func.count(control.c.applied_epoch)).where(mine).scalar_subquery(),
        select(func.max(control.c.applied_epoch)).where(mine).scalar_subquery(),
        select(func.max(worker.c.last_seen)).where(worker.c.uid == uid).scalar_subquery(),
        select(func.count()).where(attempt.c.uid == uid, attempt.c.state == "open").scalar_subquery(),
        select(func.count()).where(chunk.c.uid == uid, chunk.c.suspect_at.is_not(None)).scalar_subquery(),
    )
    told = (condition(now), reason(now), of.owner_key, of.claimed_at, of.collected_at)
    asked = select(*columns(scatter, ScatterRow), *told, *beside)
    found = conn.execute(asked.where(of.uid == uid, of.state != "replaced", of.epoch > 0)).one_or_none()
    if found is None:
        return None
    row = built(ScatterRow, found)
    state, why, key, claimed_at, *rest = found[len(ScatterRow.__struct_fields__) :]
    counters = (row.seq, row.epoch, row.n_ok, row.n_failed, row.n_skipped, row.total, row.expected)
    mark = (uid, state, why, *counters, row.lease_until, row.ended_at, key, *rest)
    return Glance(row, state, why, key, claimed_at, mark)


def newest(conn: Connection, uid: str, now: ColumnElement[float], limit: int) -> list[Recent]:
    """The newest commits, the newest first: what rate and times are told by."""
    of = chunk.c
    asked = select(now - of.committed_at, _items(), of.seconds, of.worker)
    return [Recent(*row) for row in conn.execute(asked.where(of.uid == uid).order_by(of.seq.desc()).limit(limit))]


def pace(
    conn: Connection,
    row: ScatterRow,
    state: Condition,
    now: ColumnElement[float],
    *,
    limit: int = 1000,
    commits: list[Recent] | None = None,
) -> Pace:
    """The rate of the last minute, while somebody works on it; afterwards that of its only try.

    Several tries have idle time between them. There is no time left where nothing more is sent.

    Args:
        limit: how many of the newest commits tell it.
        commits: these commits, where they are known already.
    """
    if row.state in TERMINAL:
        several = row.ended_at is None or row.epoch > 1
        return Pace(None if several else mean_rate(row.done, row.created_at, row.ended_at or 0.0), None)
    if state not in LIVE:
        return Pace(None, None)
    commits = newest(conn, row.uid, now, limit) if commits is None else commits
    at_work = running(conn, row.uid, now)
    work = [Work(one.ago, one.items, one.seconds) for one in commits]
    rate = recent_rate(work, at_work, complete=len(commits) < limit)
    if not rate or row.of is None or state != "running":
        return Pace(rate, None)
    left = row.of - row.done - (at_work.items if at_work else 0)
    return Pace(rate, max(0.0, left) / rate)


def running(conn: Connection, uid: str, now: ColumnElement[float]) -> Work | None:
    """What is done of the chunks that run, as their workers said last; None where none did."""
    of, sent = worker.c, attempt.c
    oldest = select(now - func.min(sent.sent_at)).where(sent.uid == uid, sent.state == "open").scalar_subquery()
    asked = select(func.sum(of.done), now - func.max(of.last_seen), oldest)
    done, ago, since = conn.execute(asked.where(of.uid == uid, of.last_seen > now - SILENT, of.done > 0)).one()
    if not done or since is None:
        return None
    return Work(max(0.0, ago), int(done), max(0.0, since - max(0.0, ago)))


def tally(conn: Connection, uid: str, *, speculates: bool) -> Tally:
    """Chunks by what became of them. Copies are counted only where the scatter makes any: that reads every attempt."""
    of = attempt.c
    mine = of.uid == uid
    asked = select(
        select(func.count()).where(chunk.c.uid == uid).scalar_subquery(),
        select(func.count()).where(mine, of.state.in_(("open", "void"))).scalar_subquery(),
        select(func.count()).where(mine, of.why == "speculative").scalar_subquery() if speculates else literal(0),
    )
    return Tally(*conn.execute(asked).one())


def in_flight(conn: Connection, uids: list[str]) -> dict[str, list[tuple[int, int, int]]]:
    """(layer, start, stop) of what each scatter's present coordinator has sent and nobody committed so far."""
    of = attempt.c
    present = select(scatter.c.epoch).where(scatter.c.uid == of.uid).scalar_subquery()
    last = (
        select(chunk.c.stop)
        .where(chunk.c.uid == of.uid, chunk.c.layer == of.layer, chunk.c.start <= of.start)
        .order_by(chunk.c.start.desc())
        .limit(1)
        .scalar_subquery()
    )
    asked = (
        select(of.uid, of.layer, of.start, of.stop)
        .where(of.uid.in_(uids), of.state == "open", waited_for_by() == present, func.coalesce(last, 0) <= of.start)
        .order_by(of.uid, of.layer, of.start)
        .limit(_OPEN)
    )
    found: dict[str, list[tuple[int, int, int]]] = {}
    for uid, *span in conn.execute(asked):
        found.setdefault(uid, []).append((span[0], span[1], span[2]))
    return found


def last_commit(conn: Connection, uid: str) -> float | None:
    """When the latest chunk was committed."""
    asked = select(chunk.c.committed_at).where(chunk.c.uid == uid).order_by(chunk.c.seq.desc()).limit(1)
    return conn.execute(asked).scalar()


def ran(conn: Connection, uid: str, began: float, width: float) -> list[Ran]:
    """Items by the stretches of `width` seconds, counted from `began` on, that their chunks began and ended in."""
    of = chunk.c
    start = of.committed_at - of.seconds - began
    first = whole(case((start > 0, start), else_=0.0) / width).label("first")
    last = whole((of.committed_at - began) / width).label("last")
    sums = func.sum(_items()), func.sum(of.n_failed)
    asked = select(first, last, *sums).where(of.uid == uid, of.committed_at >= began)
    _into_few_groups(conn)
    return sorted(Ran(*map(int, row)) for row in conn.execute(asked.group_by(first, last)))


def furthest(conn: Connection, uid: str) -> int:
    """Past the last item that was met: the input may have more, where its total is not known."""
    of = chunk.c
    base = select(of.stop).where(of.uid == uid, of.layer == 0).order_by(of.start.desc()).limit(1)
    sent = select(func.max(attempt.c.stop)).where(attempt.c.uid == uid, attempt.c.state == "open")
    return max(conn.execute(base).scalar() or 0, conn.execute(sent).scalar() or 0)


def cells(conn: Connection, uid: str, size: int) -> tuple[list[CellSum], list[Piece]]:
    """The input in cells of `size` items: sums of what lies in one, and the few chunks that lie in several."""
    of = chunk.c
    first, last = of.start // size, (of.stop - 1) // size
    rerun = func.sum(_items()).filter(of.layer > 0)
    sums = select(
        first.label("number"),
        func.sum(of.n_ok),
        func.sum(of.n_failed) - func.coalesce(rerun, 0),
        func.sum(of.n_skipped),
    ).where(of.uid == uid, first == last)
    across = select(of.layer, of.start, of.stop, of.outcome).where(of.uid == uid, first != last)
    _into_few_groups(conn)
    whole_ones = [CellSum(*map(int, row)) for row in conn.execute(sums.group_by("number"))]
    return whole_ones, [Piece(*row) for row in conn.execute(across)]


def sendings(conn: Connection, uid: str, limit: int) -> list[Sent]:
    """The latest sendings: the newest commits, and what was sent and did not count."""
    of, on = attempt.c, chunk.c
    counted = (
        select(on.attempt, on.layer, on.start, on.stop, on.epoch, literal("won"), func.coalesce(of.died, False))
        .add_columns(func.coalesce(of.why, ""), of.sent_at, on.worker, on.committed_at, on.seconds, on.n_failed)
        .outerjoin_from(chunk, attempt, of.id == on.attempt)
        .where(on.uid == uid)
        .order_by(on.seq.desc())
        .limit(limit)
    )
    other = (
        select(*columns(attempt, AttemptRow), waited_for_by())
        .where(of.uid == uid, of.state.in_(("open", "void")))
        .order_by(of.sent_at.desc(), of.id)
        .limit(limit)
    )
    found = [Sent(*row) for row in conn.execute(counted)]
    for one, epoch in ((built(AttemptRow, row), row[-1]) for row in conn.execute(other)):
        told = (one.id, one.layer, one.start, one.stop, epoch, one.state, one.died, one.why, one.sent_at)
        found.append(Sent(*told, one.worker, None, None, 0))
    return found


def workers(conn: Connection, uid: str, limit: int) -> list[WorkerRow]:
    """The workers that were seen last."""
    asked = select(*columns(worker, WorkerRow)).where(worker.c.uid == uid)
    return [built(WorkerRow, row) for row in conn.execute(asked.order_by(worker.c.last_seen.desc()).limit(limit))]


def settings_in_force(conn: Connection, uid: str) -> list[dict[str, Any]]:
    """Return the values of the `set` requests that a coordinator has applied, in order."""
    of = control.c
    done = and_(of.uid == uid, of.verb == "set", of.applied_epoch.is_not(None))
    return list(conn.execute(select(of.value).where(done).order_by(of.no)).scalars())


def _into_few_groups(conn: Connection) -> None:
    """PostgreSQL cannot know that an expression has few values, and would sort every chunk, on disk, to group them."""
    if conn.dialect.name == "postgresql":
        conn.exec_driver_sql("SET LOCAL enable_sort = off")


def _items() -> ColumnElement[int]:
    return chunk.c.n_ok + chunk.c.n_failed + chunk.c.n_skipped
