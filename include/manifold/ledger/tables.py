"""The ledger's tables.

| table | holds |
|---|---|
| scatter | one row per scatter: who owns it, how far it is |
| pin | the files, sizes and times that a scatter's input had when it began; written once, read by those who need it |
| scatter_try | one row per try: who coordinated it, when it began, how it ended and why |
| chunk | the committed intervals: disjoint within (uid, layer) |
| attempt | one row per sending of a chunk, written before it is sent |
| failure | exactly the items that are failed now |
| error_kind | one traceback per fingerprint |
| control | control requests |
| worker | who works, for display |
| tally | what coordinators count for the metrics: one row per figure of a try; of ended scatters, one per engine |
| meta | schema version, id of the ledger |

`manifold.ledger.schema` makes them; nothing else runs DDL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from manifold.text import storable

metadata = MetaData()


def _position(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=False, **options)


class StorableText(TypeDecorator[str]):
    """Text of people and their programs, in a form that every database takes, when written and when compared."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return storable(value) if value is not None else None


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, StorableText, **({"nullable": False} | options))


def _id(name: str, **options: Any) -> Column[str]:
    return Column(name, String(32), **({"nullable": False} | options))


def _time(name: str, **options: Any) -> Column[float]:
    return Column(name, Double, **({"nullable": False} | options))


scatter = Table(
    "scatter",
    metadata,
    _id("uid", primary_key=True),
    _text("name"),
    Column("gen", Integer, nullable=False),
    _text("state"),
    Column("epoch", Integer, nullable=False, default=0),
    _text("owner", nullable=True),
    _text("owner_host", nullable=True),
    Column("owner_pid", BigInteger),
    _time("owner_started", nullable=True),
    _text("owner_key", nullable=True),
    _id("owner_token", nullable=True),
    Column("claim_no", Integer, nullable=False, default=0),
    _time("claimed_at", nullable=True),
    _time("lease_until", nullable=True),
    Column("total", BigInteger),
    Column("expected", BigInteger),
    _position("n_ok", default=0),
    _position("n_failed", default=0),
    _position("n_skipped", default=0),
    _position("seq", default=0),
    _text("engine"),
    _text("source_kind"),
    _text("source_fp", nullable=True),
    _text("codec"),
    _text("reduce_digest", nullable=True),
    _text("consts_digest", nullable=True),
    Column("policy", JSON, nullable=False),
    _text("store_url"),
    _text("store_uuid"),
    _text("key_id"),
    _text("fn_name"),
    _text("fn_key", nullable=True),
    _text("fn_digest", nullable=True),
    _time("created_at"),
    _time("ended_at", nullable=True),
    _text("message", nullable=True),
    _time("collected_at", nullable=True),
    # True: of the deployment itself, and in no list unless asked for. NULL in rows of older versions.
    Column("system", Boolean),
    UniqueConstraint("name", "gen", name="scatter_name_gen"),
    Index("scatter_created", "created_at", "uid"),
)

pin = Table("pin", metadata, _id("uid", primary_key=True), Column("value", JSON, nullable=False))

scatter_try = Table(
    "scatter_try",
    metadata,
    _id("uid", primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    _text("owner"),
    _text("owner_key", nullable=True),
    Column("claim_no", Integer, nullable=False),
    Column("claims", Integer, nullable=False),
    _text("host"),
    Column("pid", BigInteger, nullable=False),
    _text("mode"),
    _text("why"),
    _position("began_seq"),
    _time("began_at"),
    _time("ended_at", nullable=True),
    _text("ending", nullable=True),
    _text("message", nullable=True),
    _position("items", default=0),
    _position("chunks", default=0),
)

chunk = Table(
    "chunk",
    metadata,
    _id("uid", primary_key=True),
    Column("layer", Integer, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    _position("stop"),
    _position("seq"),
    Column("epoch", Integer, nullable=False),
    _id("attempt"),
    _position("n_ok"),
    _position("n_failed"),
    _position("n_skipped"),
    _text("outcome", nullable=True),
    _text("blob_key", nullable=True),
    _text("blob_digest", nullable=True),
    _position("blob_bytes"),
    _text("fail_key", nullable=True),
    _text("fail_digest", nullable=True),
    _text("items_digest", nullable=True),
    _text("code_digest", nullable=True),
    _text("worker"),
    Column("seconds", Double, nullable=False),
    _time("suspect_at", nullable=True),
    _time("committed_at"),
    Index("chunk_attempt", "attempt", unique=True),
    Index("chunk_seq", "uid", "seq", unique=True),
)
# Overlays and suspects are few among many rows: partial indexes find them without a walk over the base.
Index("chunk_overlay", chunk.c.uid, chunk.c.start, sqlite_where=chunk.c.layer > 0, postgresql_where=chunk.c.layer > 0)
Index(
    "chunk_suspect",
    chunk.c.uid,
    sqlite_where=chunk.c.suspect_at.is_not(None),
    postgresql_where=chunk.c.suspect_at.is_not(None),
)

attempt = Table(
    "attempt",
    metadata,
    _id("id", primary_key=True),
    _id("uid"),
    Column("layer", Integer, nullable=False),
    _position("start"),
    _position("stop"),
    Column("epoch", Integer, nullable=False),
    _text("state"),
    Column("started", Boolean, nullable=False, default=False),
    Column("died", Boolean, nullable=False, default=False),
    _text("worker", nullable=True),
    _text("why"),
    _time("sent_at"),
    # The epoch of the latest coordinator that waits for it, where another one has sent it.
    Column("adopted", Integer),
    Index("attempt_state", "uid", "state"),
)
Index("attempt_died", attempt.c.uid, sqlite_where=attempt.c.died, postgresql_where=attempt.c.died)

failure = Table(
    "failure",
    metadata,
    _id("uid", primary_key=True),
    Column("pos", BigInteger, primary_key=True),
    Column("layer", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    _text("fingerprint"),
    _text("type"),
    _text("message"),
    Column("attempts", Integer, nullable=False),
    _text("worker"),
    _text("key", nullable=True),
    _text("item_repr", nullable=True),
    _text("item_digest", nullable=True),
    Index("failure_kind", "uid", "fingerprint", "pos"),
)

error_kind = Table(
    "error_kind",
    metadata,
    _id("uid", primary_key=True),
    _text("fingerprint", primary_key=True),
    _text("type"),
    _text("message"),
    _text("traceback"),
)

control = Table(
    "control",
    metadata,
    _id("uid", primary_key=True),
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    _text("verb"),
    Column("value", JSON, nullable=False),
    _text("by_whom"),
    _time("at"),
    Column("applied_epoch", Integer),
    _id("token", unique=True),
)

worker = Table(
    "worker",
    metadata,
    _id("uid", primary_key=True),
    _text("worker", primary_key=True),
    _text("host"),
    Column("pid", BigInteger, nullable=False),
    _time("last_seen"),
    Column("holding", JSON, nullable=False),
    _position("items", default=0),
    _position("chunks", default=0),
    Column("done", BigInteger),
)

tally = Table(
    "tally",
    metadata,
    _id("uid", primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    _text("engine", primary_key=True),
    _text("name", primary_key=True),
    Column("value", Double, nullable=False),
)

meta = Table("meta", metadata, Column("name", Text, primary_key=True), _text("value"))


def insert_into(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say ON CONFLICT, which both databases can and SQLAlchemy keeps with each."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


class database_time(FunctionElement[float]):
    """Seconds since the epoch by the database's clock, the same throughout one statement."""

    type = Double()
    inherit_cache = True
    name = "database_time"


@compiles(database_time, "sqlite")
def _sqlite_time(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_time, "postgresql")
def _postgresql_time(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM now()) AS DOUBLE PRECISION)"
