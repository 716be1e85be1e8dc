"""The ledger: what anybody may write, and how a coordinator becomes a scatter's owner."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Literal

from sqlalchemy import Connection, Engine, and_, exists, func, insert, literal, not_, select, update

from manifold.errors import Fenced, LedgerError, ScatterBusy
from manifold.ledger import guards
from manifold.ledger.claim import Claim
from manifold.ledger.connection import Database
from manifold.ledger.creation import created, owned, write_pin
from manifold.ledger.ending import end, void_reruns
from manifold.ledger.queries import Reader, scatter_row
from manifold.ledger.rows import NewScatter, Owner, process_is_gone
from manifold.ledger.schema import check
from manifold.ledger.states import LOST, alive
from manifold.ledger.tables import attempt, chunk, control, insert_into, scatter
from manifold.ledger.tries import LEASE, begin_try, end_try
from manifold.protocol.records import TERMINAL, ChunkRow, ScatterRow

STALE = 24 * 3600.0
"""Seconds after which an attempt of an older epoch is given up, so that gc may delete what it left."""

_EPOCH_BOUND = frozenset({"pause", "resume", "drain", "cancel", "set"})


class Ledger(Reader):
    """The point of truth. Safe to use from several threads; after a fork, the child connects anew.

    Args:
        engine: of `connection.connect`, with the tables that `schema.migrate` makes.
        now: a clock that takes the place of the database's own, for a simulation.
        database: how transactions are run, if not by `Database(engine)`.

    Raises SchemaError where the tables are missing or of another version.
    """

    def __init__(
        self, engine: Engine, *, now: Callable[[], float] | None = None, database: Database | None = None
    ) -> None:
        super().__init__(database or Database(engine), now=now)
        self.uuid = check(engine)

    def close(self) -> None:
        """Give up the connections."""
        self.database.close()

    def create(self, new: NewScatter) -> ScatterRow:
        """The newest scatter of that name: the new one, unless there is one that was not replaced."""
        of = scatter.c
        living = exists(select(of.uid).where(of.name == new.name, of.state != "replaced"))
        gen = select(func.coalesce(func.max(of.gen), 0) + 1).where(of.name == new.name).scalar_subquery()

        def work(conn: Connection) -> ScatterRow:
            now = conn.execute(select(self.now())).scalar_one()
            values = created(new, now) | {"epoch": 0, "claim_no": 0, "n_ok": 0, "n_failed": 0, "n_skipped": 0, "seq": 0}
            typed = [literal(value, of[name].type).label(name) for name, value in values.items()]
            row = select(*typed, gen.label("gen")).where(~living)
            conn.execute(
                insert_into(conn.dialect.name, scatter).from_select([*values, "gen"], row).on_conflict_do_nothing()
            )
            write_pin(conn, new)
            newest = select(of.uid).where(of.name == new.name).order_by(of.gen.desc()).limit(1)
            return scatter_row(conn, conn.execute(newest).scalar_one())

        return self.database.write(work)

    def acquire(self, uid: str, owner: Owner) -> Claim:
        """Own the scatter, which runs (again) from now on; what was re-run by an earlier owner is void.

        Raises ScatterBusy, with who and since when, while another coordinator that may be alive owns it; Fenced where
        it was replaced by a fresh start; LedgerError where there is none.
        """
        token = uuid.uuid4().hex

        def work(conn: Connection) -> ScatterRow:
            of = scatter.c
            held = conn.execute(
                select(of.owner_token, of.owner_host, of.owner_pid, of.owner_started, of.lease_until, self.now()).where(
                    of.uid == uid
                )
            ).one_or_none()
            if held is None or held[0] == token:  # unknown; or the COMMIT was in doubt, and had counted
                return scatter_row(conn, uid)
            dead = held[0] if process_is_gone(*held[1:4]) else None
            lease, now = held[4:]
            values = owned(owner, token, now) | {"state": "running", "ended_at": None, "message": None}
            free = and_(of.uid == uid, guards.not_replaced(), guards.free(owner, dead, now))
            if conn.execute(update(scatter).where(free).values(epoch=of.epoch + 1, **values)).rowcount != 1:
                raise self._refusal(conn, uid)
            void_reruns(conn, uid)
            row = scatter_row(conn, uid)
            _end_earlier(conn, row, owner, now, lease=lease, dead=dead is not None)
            begin_try(conn, row, owner, now)
            return row

        return Claim(self, self.database.write(work), owner, token)

    def _refusal(self, conn: Connection, uid: str) -> LedgerError:
        row = scatter_row(conn, uid)
        if row.state == "replaced":
            return Fenced(f"scatter {row.title} was replaced by a fresh start (its generation {row.gen} is over)")
        since, now = conn.execute(select(scatter.c.claimed_at, self.now()).where(scatter.c.uid == uid)).one()
        left = (row.lease_until or now) - now
        return ScatterBusy(
            f"scatter {row.title} is being run by {row.owner}, for {now - since:.0f} s now; "
            f"if that is dead, it is free in {left:.0f} s"
        )

    def suspect(self, which: ChunkRow) -> bool:
        """Say that a chunk's bytes could not be read; False where it was replaced meanwhile."""
        same = and_(
            chunk.c.uid == which.uid,
            chunk.c.layer == which.layer,
            chunk.c.start == which.start,
            chunk.c.attempt == which.attempt,
        )
        marked = update(chunk).where(same).values(suspect_at=self.now())
        return self.database.write(lambda conn: conn.execute(marked).rowcount == 1)

    def control(self, uid: str, verb: str, value: dict[str, Any] | None = None, by_whom: str = "") -> int:
        """Record a request for the scatter's coordinator (pause, resume, drain, cancel, set, redrive); its number.

        Raises LedgerError where the scatter is not there, or has ended and the request would have no effect.
        """
        token = uuid.uuid4().hex

        def work(conn: Connection) -> int:
            # The lock makes numbers unique; an update that changes nothing takes it on both databases.
            conn.execute(update(scatter).where(scatter.c.uid == uid).values(seq=scatter.c.seq))
            row = scatter_row(conn, uid)
            if row.state in TERMINAL and (verb in _EPOCH_BOUND or row.state == "replaced"):
                raise LedgerError(f"scatter {row.title} has ended ({row.state}); there is nothing to {verb}")
            mine = conn.execute(select(control.c.no).where(control.c.token == token)).scalar()
            if mine is not None:  # the COMMIT was in doubt, and had counted
                return int(mine)
            last = conn.execute(select(func.max(control.c.no)).where(control.c.uid == uid)).scalar() or 0
            request = {"uid": uid, "no": last + 1, "epoch": row.epoch, "verb": verb, "value": value or {}}
            conn.execute(insert(control).values(**request, by_whom=by_whom, at=self.now(), token=token))
            return int(last + 1)

        return self.database.write(work)

    def give_up(self, uid: str, state: Literal["failed", "cancelled"], message: str) -> bool:
        """End a scatter that waits for a try which never comes; False where it has ended or is coordinated."""

        def work(conn: Connection) -> bool:
            conn.execute(update(scatter).where(scatter.c.uid == uid).values(seq=scatter.c.seq))  # takes the lock
            now = conn.execute(select(self.now())).scalar_one()
            idle = exists().where(scatter.c.uid == uid, scatter.c.state == "running", not_(alive(literal(now))))
            if not conn.execute(select(idle)).scalar_one():
                return False
            end(conn, scatter_row(conn, uid), now, state, message)
            return True

        return self.database.write(work)

    def void_stale(self) -> int:
        """Give up attempts of older epochs that were sent more than a day ago; how many there were."""
        old = attempt.c.sent_at < self.now() - STALE
        stale = and_(attempt.c.state == "open", guards.of_older_epoch(), old)
        void = update(attempt).where(stale).values(state="void")
        return self.database.write(lambda conn: conn.execute(void).rowcount)


def _end_earlier(
    conn: Connection, row: ScatterRow, owner: Owner, now: float, *, lease: float | None, dead: bool
) -> None:
    """Write down how the try ended that `owner` takes over from, where it could not do so itself."""
    if dead or lease is None or lease < now:
        heard = now if lease is None else min(now, lease - LEASE)
        end_try(conn, row.uid, heard, "lost", LOST, before=row.epoch)
    else:
        end_try(conn, row.uid, now, "fenced", f"{owner.text} took over", before=row.epoch)
