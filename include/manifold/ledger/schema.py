"""How a database comes to have the ledger's tables, in the version that this code needs.

Only `migrate` runs DDL; a coordinator needs SELECT, INSERT, UPDATE and DELETE.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, Engine, func, insert, inspect, select, text, update
from sqlalchemy.schema import CreateColumn

from manifold.errors import SchemaError
from manifold.ledger.connection import Database
from manifold.ledger.tables import attempt, meta, metadata, pin, scatter, scatter_try, tally, worker

_OPENING_PATIENCE = 30.0  # seconds; who opens a ledger wants to hear soon that its URL is wrong
_MIGRATING = 0x6D616E69666F6C64  # the lock's number: "manifold" in ASCII


def _to_2(conn: Connection) -> None:
    """Coordinators write down what they count for the metrics."""
    tally.create(conn)


def _to_3(conn: Connection) -> None:
    """Pins and tries stand in tables of their own; attempts say who adopted them, workers how far they are, scatters
    whether they are the deployment's own.

    What was replaced needs no pin.
    """
    _add(conn, attempt.c.adopted)
    _add(conn, worker.c.done)
    _add(conn, scatter.c.system)
    pin.create(conn)
    scatter_try.create(conn)
    moved = "INSERT INTO pin (uid, value) SELECT uid, source_pin FROM scatter WHERE state <> 'replaced'"
    conn.execute(text(moved))
    conn.execute(text("ALTER TABLE scatter DROP COLUMN source_pin"))


def _add(conn: Connection, column: Column[Any]) -> None:
    """Add a column, as `tables` describes it, to a table that has rows: it has a server default or takes NULL.

    Nothing is done where it is there already, as after a table was made anew by this code.
    """
    if any(one["name"] == column.name for one in inspect(conn).get_columns(column.table.name)):
        return
    described = CreateColumn(column).compile(dialect=conn.dialect)
    conn.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {described}"))


UPGRADES: tuple[Callable[[Connection], None], ...] = (_to_2, _to_3)
"""Each takes a database from one version to the next; the first from version 1 to 2. A new database needs none."""


def version() -> int:
    """The schema version of this code."""
    return 1 + len(UPGRADES)


def migrate(engine: Engine) -> int:
    """Make the tables, or bring them to this code's version; the version they had before (0: none).

    Raises SchemaError where they are newer than this code. Safe to run from several processes at once.
    """
    database = Database(engine, patience=_OPENING_PATIENCE)
    found, _ = database.read(_found)
    return found if found == version() else database.write(_migrate)


def found_version(engine: Engine) -> int:
    """The version of the tables that are there; 0: none."""
    return Database(engine, patience=_OPENING_PATIENCE).read(_found)[0]


def check(engine: Engine) -> str:
    """The ledger's own id; raises SchemaError unless the tables are there, in this code's version."""
    database = Database(engine, patience=_OPENING_PATIENCE)
    found, ledger_uuid = database.read(_found)
    if found > version():
        raise SchemaError(_newer(found))
    if found < version():
        state = f"has tables of version {found}, not {version()}" if found else "has no tables of Manifold's yet"
        raise SchemaError(f"the ledger {database.url} {state}; run `manifold db migrate`, as a user who may run DDL")
    return ledger_uuid


def _migrate(conn: Connection) -> int:
    if conn.dialect.name == "postgresql":
        # Two at once would both miss the tables and both make them. Bound to the transaction, so PgBouncer is fine.
        conn.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
    before, _ = _found(conn)
    if before > version():
        raise SchemaError(_newer(before))
    if before == 0:
        metadata.create_all(conn)
        conn.execute(insert(meta), {"name": "ledger_uuid", "value": uuid.uuid4().hex})
        conn.execute(insert(meta), {"name": "version", "value": str(version())})
        return before
    for upgrade in UPGRADES[before - 1 :]:
        upgrade(conn)
    conn.execute(update(meta).where(meta.c.name == "version").values(value=str(version())))
    return before


def _found(conn: Connection) -> tuple[int, str]:
    """The version of the tables that are there, and the ledger's id; (0, "") without tables."""
    if not inspect(conn).has_table(meta.name):
        return 0, ""
    held = {str(name): str(value) for name, value in conn.execute(select(meta.c.name, meta.c.value))}
    return int(held.get("version", 0)), held.get("ledger_uuid", "")


def _newer(found: int) -> str:
    return (
        f"the ledger has tables of version {found}, newer than this code's {version()}; "
        "install the airflow-manifold that made them"
    )
