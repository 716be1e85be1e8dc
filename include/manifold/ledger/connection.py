"""How the ledger's database is reached, and how a transaction outlives a lost connection.

SQLite serves one host, from a local disk: WAL, synchronous=FULL, and BEGIN IMMEDIATE for every transaction that
writes (the driver's own deferred BEGIN would fail at once where two want to write, instead of waiting its turn).

PostgreSQL is used in a way that PgBouncer's transaction mode allows: no session state. So the timeouts are set by
SET LOCAL inside each transaction, not by the connection's `options`, which a pooler refuses or mixes up. They matter
because a host that is cut off inside a transaction would keep its row lock, and with it block its successor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.pool import Pool, QueuePool
from tenacity import RetryCallState, wait_random_exponential

from manifold import descriptors
from manifold.errors import ConfigError, LedgerError, LedgerUnavailable, MissingExtra, SchemaError
from manifold.patience import PATIENCE, persist
from manifold.redaction import masked

T = TypeVar("T")

_OPENING = {
    ("sqlite", True): "BEGIN IMMEDIATE",
    ("sqlite", False): "BEGIN",
    ("postgresql", True): "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ("postgresql", False): "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}
_LIMITS = "SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL lock_timeout = '15s'"
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 40_000,  # keepalives do not run while a statement waits to be acknowledged
}
_REMOTE = {"nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre"}
_REMOTE_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse")

# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection (and PgBouncer's own errors), resources;
# serialisation, which is also a standby's conflict with recovery, completion unknown, deadlock, lock not available,
# idle in transaction, transaction too long, statement cancelled (by a timeout, or a person), errors of the
# server's system and its disks.
_PASSING_CLASSES = ("08", "53")
_PASSING_STATES = {"40001", "40003", "40P01", "55P03", "25P03", "25P04", "57014", "58000", "58030"}
# The server is shut down, restarts or was closed to us; or it takes no writes, because it became a standby in a
# failover or is set so for a while: this connection may lead to the wrong server, so the next try makes a new one.
_OTHER_SERVER = {"57P01", "57P02", "57P03", "57P05", "25006"}
_PASSING_SQLITE = {5, 6, 13}  # SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL: https://www.sqlite.org/rescode.html
_LASTING = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
_NO_TABLE = ("UndefinedTable", "UndefinedColumn", "no such table", "no such column")

_WAIT = wait_random_exponential(multiplier=0.1, max=5)
_left_to_parent: list[Pool] = []
_spare: list[tuple[tuple[int, str, int], Engine]] = []
"""The newest engines of this process that nobody uses any more. They hold no connection, but the statements that they
compiled, which is most of what a transaction costs."""
_SPARE = 8


def connect(url: str, *, connections: int = 1) -> Engine:
    """The SQLAlchemy engine of a ledger's URL, for one ledger alone; nothing is connected yet.

    Args:
        url: `postgresql://…` or `sqlite:///path`; `sqlite://` rests in memory, for tests.
        connections: how many it may hold at once. A coordinator needs one; a web server some more.

    Raises ConfigError for a URL that it cannot use, MissingExtra without the driver.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigError(f"{masked(str(url))!r} is not a ledger such as postgresql://user@host/manifold") from exc
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    kind = parsed.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise ConfigError(f"the ledger rests in PostgreSQL or SQLite, not in {kind!r} ({masked(url)})")
    kept = _kept_as(parsed, connections)
    for one in [spare for spare in _spare if spare[0] == kept]:
        with suppress(ValueError):  # another thread was faster
            _spare.remove(one)
            return one[1]
    options = _sqlite_options(parsed) if kind == "sqlite" else {"connect_timeout": 10, **_KEEPALIVES}
    try:
        engine = create_engine(
            parsed,
            connect_args=options,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            **({"executemany_mode": "values_plus_batch"} if parsed.drivername == "postgresql+psycopg2" else {}),
        )
    except (ModuleNotFoundError, NoSuchModuleError) as exc:
        raise MissingExtra(f"{masked(url)} needs a driver: pip install 'airflow-manifold[postgres]' ({exc})") from exc
    if kind == "sqlite":
        event.listen(engine, "connect", _sqlite_pragmas)
    return engine


def give_back(engine: Engine, pid: int) -> None:
    """Close the connections of an engine that nobody uses any more; the next ledger at its URL may have it.

    Args:
        engine: of `connect`.
        pid: of the process that made its connections. In any other this does nothing: they are that one's.
    """
    if os.getpid() != pid:
        return
    engine.dispose()
    if isinstance(engine.pool, QueuePool) and _is_one_place(engine.url):
        _spare.append((_kept_as(engine.url, engine.pool.size()), engine))
        del _spare[:-_SPARE]


def _kept_as(url: URL, connections: int) -> tuple[int, str, int]:
    # A child that was forked begins without: a lock within may have been held by a thread that it does not have.
    return os.getpid(), url.render_as_string(hide_password=False), connections


def _is_one_place(url: URL) -> bool:
    """The URL means the same database whatever the working folder is, and not one of each connection's own."""
    return url.get_backend_name() != "sqlite" or os.path.isabs(url.database or "")


def _sqlite_options(url: URL) -> dict[str, Any]:
    if url.database and url.database != ":memory:":
        folder = Path(url.database).absolute().parent
        kind = _file_system(folder)
        if kind in _REMOTE or kind.startswith(_REMOTE_FUSE):
            raise ConfigError(
                f"{folder} is on {kind}, where SQLite's locks do not hold and a ledger breaks; "
                "use a local disk, or PostgreSQL (MANIFOLD_LEDGER=postgresql://…)"
            )
    # isolation_level None leaves BEGIN to us; a connection moves between threads, used by one at a time.
    return {"isolation_level": None, "check_same_thread": False, "timeout": 30.0}


def _file_system(folder: Path) -> str:
    """The type of file system that `folder` is on; "" where that cannot be told."""
    at = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(at, key=lambda part: len(part.mountpoint)).fstype.lower() if at else ""


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


class Database:
    """Runs whole transactions, again where their connection was lost, until each has taken effect exactly once.

    * The work must be re-runnable: a COMMIT whose answer was lost may have counted, and the work is then run again.
      The ledger's transitions begin with a row lock, which waits for the dead session's end, and then find their own
      traces.
    * A fault that may pass (connection, restart, failover, a server that takes no writes, lock timeout, full disk) is
      waited for, on a new connection where the old one may lead to the wrong server; any other is a LedgerError.
    * LedgerUnavailable is raised when `patience` is over.
    * `on_wait` is told while it waits, once per try.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.engine = engine
        self.patience = patience
        self.on_wait = on_wait
        self._sleep = sleep
        self._pid = os.getpid()

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        return masked(self.engine.url.render_as_string(hide_password=False))

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, after its transaction is committed."""
        return self._persist(work, True)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; all it reads is of one moment."""
        return self._persist(work, False)

    @contextmanager
    def briefly(self) -> Iterator[None]:
        """Try each transaction once within this block, and wait for nothing."""
        patience, self.patience = self.patience, 0.0
        try:
            yield
        finally:
            self.patience = patience

    def close(self) -> None:
        """Give up the connections; the next transaction makes new ones."""
        self.engine.dispose()

    def _persist(self, work: Callable[[Connection], T], write: bool) -> T:
        if os.getpid() != self._pid:
            # A connection cannot be shared across a fork. The parent's are kept, for closing them here would
            # say goodbye to the server, or drop SQLite's locks, in the parent's name.
            _left_to_parent.append(self.engine.pool)
            self.engine.dispose(close=False)
            self._pid = os.getpid()
        try:
            return persist(
                lambda: self._once(work, write),
                may_pass,
                patience=self.patience,
                sleep=self._sleep,
                before_sleep=self._tell,
                wait=_WAIT,
            )
        except SQLAlchemyError as exc:
            raise self._translated(exc) from exc

    def _once(self, work: Callable[[Connection], T], write: bool) -> T:
        kind = self.engine.dialect.name
        with self.engine.connect() as conn:
            try:
                with conn.begin():
                    conn.exec_driver_sql(_OPENING[kind, write] + (f"; {_LIMITS}" if kind == "postgresql" else ""))
                    return work(conn)
            except DBAPIError as exc:
                if _state(exc) in _OTHER_SERVER:
                    conn.invalidate(exc)
                raise

    def _tell(self, state: RetryCallState) -> None:
        if self.on_wait and state.outcome:
            self.on_wait(f"waiting for the ledger {self.url}: {_first_line(state.outcome.exception())}")

    def _translated(self, exc: SQLAlchemyError) -> LedgerError:
        text = _first_line(exc)
        if (short := descriptors.shortage()) is not None:
            text = f"{text}: {short.text}"
        if any(sign in f"{type(getattr(exc, 'orig', exc)).__name__} {text}" for sign in _NO_TABLE):
            return SchemaError(f"the ledger {self.url} lacks what this code needs ({text}); run `manifold db migrate`")
        if may_pass(exc):
            return LedgerUnavailable(f"the ledger {self.url} could not be used for {self.patience:.0f} s: {text}")
        return LedgerError(f"the ledger {self.url} refused: {text}")


def may_pass(exc: BaseException) -> bool:
    """True for a fault of the database that may be gone at the next try."""
    if isinstance(exc, NoFreeConnection):
        return True
    if not isinstance(exc, DBAPIError):
        return False
    cause = exc.orig
    if (number := getattr(cause, "sqlite_errorcode", None)) is not None:
        return number & 0xFF in _PASSING_SQLITE
    if state := _state(exc):
        return state in _PASSING_STATES | _OTHER_SERVER or state.startswith(_PASSING_CLASSES)
    # No SQLSTATE: the server was not reached, or went away in the midst of it.
    unreached = type(cause).__name__ in ("OperationalError", "InterfaceError")
    return exc.connection_invalidated or (unreached and not any(sign in str(cause) for sign in _LASTING))


def _state(exc: DBAPIError) -> str | None:
    """The SQLSTATE of what the server said; None where it said nothing."""
    return getattr(exc.orig, "pgcode", None) or getattr(exc.orig, "sqlstate", None)


def _first_line(exc: BaseException | None) -> str:
    cause = getattr(exc, "orig", None) or exc
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
