"""What the ledger tells: each question one short read; many rows come in pages, by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, and_, func, literal, or_, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from manifold.errors import LedgerError
from manifold.ledger.connection import Database
from manifold.ledger.listing import named
from manifold.ledger.merged import MergedRow, merge
from manifold.ledger.rows import AttemptRow, FailureRow, KindRow, S, TryRow, WorkerRow, built, columns
from manifold.ledger.states import Condition, Standing, alive, condition, peoples, reason
from manifold.ledger.tables import attempt, chunk, control, database_time, error_kind, failure, pin, scatter, worker
from manifold.ledger.tries import read_tries
from manifold.protocol.records import MAX_CHUNK, ChunkRow, ControlRow, ScatterRow

PAGE = 1000


class Reader:
    """The ledger, to be read. Safe to use from several threads.

    Args:
        database: where it is.
        now: a clock that takes the place of the database's own, for a simulation.
    """

    def __init__(self, database: Database, *, now: Callable[[], float] | None = None) -> None:
        self.database = database
        self._now = now

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        return self.database.url

    def now(self) -> ColumnElement[float]:
        """The SQL of the present moment."""
        return literal(self._now()) if self._now else database_time()

    def time(self) -> float:
        """The present moment by the ledger's clock, which its times are told by."""
        return self.database.read(lambda conn: conn.execute(select(self.now())).scalar_one())

    def scatter(self, uid: str) -> ScatterRow:
        """The scatter as it stands; raises LedgerError where the ledger has none of that uid."""
        return self.database.read(lambda conn: scatter_row(conn, uid))

    def find(self, name: str) -> ScatterRow | None:
        """The scatter of that name, whatever became of it; None where there is none, or gc took it."""
        standing = and_(scatter.c.name == name, scatter.c.state != "replaced")
        found = self._all(ScatterRow, _of(ScatterRow).where(standing).order_by(scatter.c.gen.desc()).limit(1))
        return found[0] if found else None

    def scatters(
        self,
        *,
        state: Condition | None = None,
        name_like: str | None = None,
        uid_prefix: str | None = None,
        limit: int = 100,
        before: ScatterRow | None = None,
        system: bool = True,
    ) -> list[ScatterRow]:
        """The newest first; those that are older than `before`. `name_like` is any part of a name, `state` as shown.
        `system`: those of the deployment itself, too."""
        asked = _of(ScatterRow).order_by(scatter.c.created_at.desc(), scatter.c.uid.desc()).limit(limit)
        if state:
            asked = asked.where(condition(self.now()) == state)
        if not system:
            asked = asked.where(peoples())
        if name_like:
            asked = asked.where(named(name_like))
        if uid_prefix:
            asked = asked.where(scatter.c.uid.startswith(uid_prefix, autoescape=True))
        if before:
            mark = tuple_(literal(before.created_at), literal(before.uid))
            asked = asked.where(tuple_(scatter.c.created_at, scatter.c.uid) < mark)
        return self._all(ScatterRow, asked)

    def states(self, uids: Iterable[str]) -> dict[str, Standing]:
        """The state of each scatter, as people are shown it, and why it is so."""
        wanted, size = list(uids), PAGE // 2
        asked = select(scatter.c.uid, condition(self.now()), reason(self.now()))
        return self.database.read(
            lambda conn: {
                uid: Standing(*told)
                for first in range(0, len(wanted), size)
                for uid, *told in conn.execute(asked.where(scatter.c.uid.in_(wanted[first : first + size])))
            }
        )

    def state(self, uid: str) -> Standing:
        """The same of one scatter; raises LedgerError where there is none."""
        found = self.states([uid])
        return found[uid] if found else Standing(self.scatter(uid).state, None)

    def tries(self, uid: str) -> list[TryRow]:
        """The tries at the scatter, the newest first; one without a living coordinator has ended as `lost`."""
        now = select(self.now())
        return self.database.read(lambda conn: read_tries(conn, uid, conn.execute(now).scalar_one()))

    def pin(self, uid: str) -> dict[str, Any]:
        """What the input was when the scatter began (`Source.pin`); {} where nothing was kept."""
        asked = select(pin.c.value).where(pin.c.uid == uid)
        return self.database.read(lambda conn: conn.execute(asked).scalar()) or {}

    def running(self, engine: str) -> int:
        """How many scatters have a living coordinator on this engine."""
        asked = select(func.count()).select_from(scatter).where(scatter.c.engine == engine, alive(self.now()))
        return self.database.read(lambda conn: conn.execute(asked).scalar_one())

    def chunks(self, uid: str, *, after: int = -1, limit: int = PAGE, as_of: int | None = None) -> list[ChunkRow]:
        """The base's chunks that begin past `after`, in order; `as_of` leaves out what was committed later."""
        return self.database.read(lambda conn: base_chunks(conn, uid, after, limit, as_of))

    def covered(self, uid: str, layer: int, start: int, stop: int) -> list[tuple[int, int]]:
        """The committed ranges of a layer that touch [start, stop), in order."""
        of = chunk.c
        touching = and_(
            of.uid == uid, of.layer == layer, of.start < stop, of.start > start - MAX_CHUNK, of.stop > start
        )
        asked = select(of.start, of.stop).where(touching).order_by(of.start)
        return self.database.read(lambda conn: [(low, high) for low, high in conn.execute(asked)])

    def overlays(self, uid: str, start: int, stop: int, *, as_of: int | None = None) -> list[ChunkRow]:
        """The chunks of re-runs that begin in [start, stop), by position, then layer."""
        return self.database.read(lambda conn: overlay_chunks(conn, uid, start, stop, as_of))

    def merged(self, uid: str, *, after: int = -1, as_of: int | None = None, page: int = PAGE) -> Iterator[MergedRow]:
        """The base's chunks that begin past `after`, in order, each with its re-runs.

        One page is in memory, and no connection is held between two.
        """
        while rows := self.database.read(partial(merged_page, uid=uid, after=after, limit=page, as_of=as_of)):
            yield from rows
            after = rows[-1].base.start

    def suspects(self, uid: str) -> list[ChunkRow]:
        """The chunks whose bytes somebody could not read."""
        suspect = and_(chunk.c.uid == uid, chunk.c.suspect_at.is_not(None))
        return self._all(ChunkRow, _of(ChunkRow).where(suspect).order_by(chunk.c.layer, chunk.c.start))

    def failures(
        self, uid: str, *, after: int = -1, limit: int = PAGE, fingerprint: str | None = None
    ) -> list[FailureRow]:
        """The items that are failed now, past position `after`, in order; of one kind only, if asked."""
        asked = _of(FailureRow).where(failure.c.uid == uid, failure.c.pos > after)
        if fingerprint is not None:
            asked = asked.where(failure.c.fingerprint == fingerprint)
        return self._all(FailureRow, asked.order_by(failure.c.pos).limit(limit))

    def failed_before(self, uid: str, epoch: int) -> int:
        """How many items are failed now, and have not run since that epoch began."""
        asked = select(func.count()).where(failure.c.uid == uid, failure.c.epoch < epoch)
        return int(self.database.read(lambda conn: conn.execute(asked).scalar_one()))

    def kinds(self, uid: str) -> list[KindRow]:
        """The kinds of errors that items are failed by now, the most frequent first."""
        count = func.count().label("count")
        counted = (
            select(failure.c.fingerprint, count).where(failure.c.uid == uid).group_by(failure.c.fingerprint).subquery()
        )
        of = error_kind.c
        asked = (
            select(of.fingerprint, of.type, of.message, of.traceback, counted.c.count)
            .join(counted, and_(of.uid == uid, of.fingerprint == counted.c.fingerprint))
            .order_by(counted.c.count.desc(), of.fingerprint)
        )
        return self._all(KindRow, asked)

    def workers(self, uid: str) -> list[WorkerRow]:
        """The workers that its coordinators have seen, by name."""
        return self._all(WorkerRow, _of(WorkerRow).where(worker.c.uid == uid).order_by(worker.c.worker))

    def strikes(self, uid: str) -> list[AttemptRow]:
        """The attempts whose worker process died over them, the oldest first."""
        died = and_(attempt.c.uid == uid, attempt.c.died)
        return self._all(AttemptRow, _of(AttemptRow).where(died).order_by(attempt.c.sent_at, attempt.c.id))

    def open_attempts(self, uid: str, *, before: int, limit: int = 10_000) -> list[AttemptRow]:
        """Return the attempts of the base that epochs before that one sent and whose end is not known, newest first."""
        of = attempt.c
        asked = and_(of.uid == uid, of.layer == 0, of.state == "open", of.epoch < before, ~of.died)
        newest = _of(AttemptRow).where(asked).order_by(of.sent_at.desc(), of.id).limit(limit)
        return self._all(AttemptRow, newest)

    def pending_controls(self, uid: str) -> list[ControlRow]:
        """What the present coordinator is to do, in order.

        A request to cancel or drain ends with the epoch it was made in; settings and pauses are applied anew in each.
        A redrive is done once.
        """
        epoch = select(scatter.c.epoch).where(scatter.c.uid == uid).scalar_subquery()
        of, unseen = control.c, control.c.applied_epoch.is_(None)
        due = or_(
            and_(of.verb.in_(("cancel", "drain")), unseen, of.epoch == epoch),
            and_(of.verb.in_(("pause", "resume", "set")), or_(unseen, of.applied_epoch < epoch)),
            and_(of.verb == "redrive", unseen),
        )
        return self._all(ControlRow, _of(ControlRow).where(of.uid == uid, due).order_by(of.no))

    def paused_by(self, uid: str) -> str | None:
        """Who asked for the pause that holds now; None where none does. It may not have taken effect yet."""
        of = control.c
        asked = select(of.verb, of.by_whom).where(of.uid == uid, of.verb.in_(("pause", "resume")))
        found = self.database.read(lambda conn: conn.execute(asked.order_by(of.no.desc()).limit(1)).one_or_none())
        return str(found[1]) if found is not None and found[0] == "pause" else None

    def lets_continue(self, uid: str) -> bool:
        """Somebody asked for a drained scatter to be continued, after it was drained."""
        of = control.c
        asked = select(of.verb).where(of.uid == uid, of.verb.in_(("drain", "resume"))).order_by(of.no.desc()).limit(1)
        return self.database.read(lambda conn: conn.execute(asked).scalar()) == "resume"

    def item_seconds(self, uid: str, *, limit: int = 10_000) -> list[tuple[float, int]]:
        """(mean seconds of an item, items) of the newest chunks: what percentiles of item time are made of."""
        of = chunk.c
        items = of.n_ok + of.n_failed + of.n_skipped
        asked = select(of.seconds, items).where(of.uid == uid, items > 0).order_by(of.seq.desc()).limit(limit)
        rows = self.database.read(lambda conn: conn.execute(asked).all())
        return [(seconds / count, count) for seconds, count in rows]

    def claim_key(self, uid: str) -> str | None:
        """Which Airflow task instance claimed it last: its name in the ledger; None for a scatter of plain Python."""
        asked = select(scatter.c.owner_key).where(scatter.c.uid == uid)
        return self.database.read(lambda conn: conn.execute(asked).scalar())

    def _all(self, struct: type[S], asked: Select[Any]) -> list[S]:
        return self.database.read(lambda conn: [built(struct, row) for row in conn.execute(asked)])


_TABLES = {
    ScatterRow: scatter,
    ChunkRow: chunk,
    AttemptRow: attempt,
    FailureRow: failure,
    ControlRow: control,
    WorkerRow: worker,
}


def _of(struct: type[S]) -> Select[Any]:
    return select(*columns(_TABLES[struct], struct))


def scatter_row(conn: Connection, uid: str) -> ScatterRow:
    """The scatter as it stands; raises LedgerError where there is none."""
    found = conn.execute(_of(ScatterRow).where(scatter.c.uid == uid)).one_or_none()
    if found is None:
        raise LedgerError(f"the ledger has no scatter {uid}; `manifold ls` shows those it has")
    return built(ScatterRow, found)


def base_chunks(conn: Connection, uid: str, after: int, limit: int, as_of: int | None) -> list[ChunkRow]:
    """One page of the base."""
    asked = _of(ChunkRow).where(chunk.c.uid == uid, chunk.c.layer == 0, chunk.c.start > after)
    if as_of is not None:
        asked = asked.where(chunk.c.seq <= as_of)
    return [built(ChunkRow, row) for row in conn.execute(asked.order_by(chunk.c.start).limit(limit))]


def overlay_chunks(conn: Connection, uid: str, start: int, stop: int, as_of: int | None) -> list[ChunkRow]:
    """The overlays that begin in [start, stop)."""
    asked = _of(ChunkRow).where(chunk.c.uid == uid, chunk.c.layer > 0, chunk.c.start >= start, chunk.c.start < stop)
    if as_of is not None:
        asked = asked.where(chunk.c.seq <= as_of)
    return [built(ChunkRow, row) for row in conn.execute(asked.order_by(chunk.c.start, chunk.c.layer))]


def merged_page(conn: Connection, uid: str, after: int, limit: int, as_of: int | None) -> list[MergedRow]:
    """One page of the base with its overlays."""
    bases = base_chunks(conn, uid, after, limit, as_of)
    if not bases:
        return []
    return list(merge(bases, overlay_chunks(conn, uid, bases[0].start, bases[-1].stop, as_of)))
