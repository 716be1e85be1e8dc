"""The real ledger on SQLite in memory, with a clock that jumps and a database that goes away at the worst moment."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, delete, update
from sqlalchemy.exc import OperationalError

from manifold.ledger import Ledger
from manifold.ledger.connection import Database, connect
from manifold.ledger.schema import migrate
from manifold.ledger.tables import meta, metadata
from tests.simulation.world import Actor, World

T = TypeVar("T")


class Book:
    """The database, as all processes share it."""

    def __init__(
        self,
        world: World,
        after_write: Callable[[str], None],
        epochs: Callable[[], dict[str, int]],
        *,
        fails_over: bool,
    ) -> None:
        self.engine = _database()
        self.away_until = 0.0
        self.ahead = 1_000_000.0
        self.after_write = after_write
        self.epochs = epochs
        self.retry_seconds = world.rng.choice((0.3, 3.0))
        self._world = world
        self._older: deque[_Copy] = deque(maxlen=12 if fails_over else 0)  # before each last commit
        with self.engine.begin() as conn:
            for table in metadata.sorted_tables:
                if table is not meta:
                    conn.execute(delete(table))

    def now(self) -> float:
        return self._world.now + self.ahead

    def remember(self) -> None:
        """A transaction begins. Should it be lost, this is what is left."""
        if self._older.maxlen:
            self._older.append(_Copy(_connection(self.engine).serialize(), self.epochs()))

    def fail_over(self, *, keeps_acquires: bool = False) -> str:
        """A standby takes over that lacks the last commits, an acquire among them at times; "" where there is none."""
        rng, older = self._world.rng, list(self._older)
        acquires = [at for at, copy in enumerate(older) if copy.epochs != self.epochs()]
        first = acquires[-1] + 1 if acquires and keeps_acquires else 0
        if first == len(older):
            return ""
        latest = acquires[-1] if acquires and not keeps_acquires and rng.random() < 0.4 else None
        at = first if keeps_acquires else rng.randrange(len(older)) if latest is None else latest
        with closing(sqlite3.connect(":memory:")) as copy:
            copy.deserialize(older[at].data)
            copy.backup(_connection(self.engine))  # its prepared statements would not outlive a deserialize
        self._older.clear()
        self.away_until = max(self.away_until, self._world.now + rng.choice((0.1, 2.0)))
        return f"the last {len(older) - at} commits"

    def opened(self, actor: Actor) -> Ledger:
        """The ledger, as one process has it."""
        return Ledger(self.engine, now=self.now, database=_Faulty(self._world, self, actor))


class _Copy(NamedTuple):
    data: bytes
    epochs: dict[str, int]


def _connection(engine: Engine) -> sqlite3.Connection:
    """The one of the database in memory."""
    raw = engine.raw_connection()
    connection = raw.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    raw.close()
    return connection


@cache
def _database() -> Engine:
    """One for all seeds: what SQLAlchemy compiles is kept with it."""
    engine = connect("sqlite://")
    migrate(engine)
    with engine.begin() as conn:  # an id of its own would make each replay another one
        conn.execute(update(meta).where(meta.c.name == "ledger_uuid").values(value="ledger"))
    return engine


class _Faulty(Database):
    """A process's connection: the process may die before and after each transaction, its COMMIT may be in doubt."""

    def __init__(self, world: World, book: Book, actor: Actor) -> None:
        super().__init__(book.engine, sleep=lambda _seconds: actor.sleep(book.retry_seconds), patience=1e6)
        self._world = world
        self._book = book
        self._actor = actor

    def write(self, work: Callable[[Connection], T]) -> T:
        self._actor.point("write")
        done = super().write(work)
        self._actor.point("written")
        return done

    def read(self, work: Callable[[Connection], T]) -> T:
        self._actor.point("read")
        return super().read(work)

    def _once(self, work: Callable[[Connection], T], write: bool) -> T:
        if self._world.now < self._book.away_until:
            raise _away("the server is gone")
        if not write:
            return super()._once(work, write)
        self._book.remember()
        doubt = self._world.faults.hits("commit in doubt", self._actor.name)
        if doubt and self._world.rng.random() < 0.5:
            return super()._once(lambda conn: _undone(work, conn), write)
        done = super()._once(work, write)
        self._book.after_write(self._actor.name)
        if doubt:
            self._world.on_stall(self._actor)
            raise _away("the connection is gone, and the COMMIT went through")
        return done


def _undone(work: Callable[[Connection], T], conn: Connection) -> T:
    work(conn)
    raise _away("the connection is gone, and the COMMIT did not arrive")


def _away(text: str) -> OperationalError:
    cause = sqlite3.OperationalError(text)
    cause.sqlite_errorcode = sqlite3.SQLITE_BUSY  # one that may pass
    return OperationalError("COMMIT", {}, cause)
