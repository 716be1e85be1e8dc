"""Giving disk space back: SQLite keeps what was deleted as free pages in its file; PostgreSQL has its autovacuum."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

_WORTH = 16_000_000  # bytes; below that the file is written again for next to nothing


def compact(engine: Engine, *, worth: int = _WORTH) -> bool:
    """Shrink an SQLite file of which more than half, and more than `worth` bytes, is free; True if that was done.

    Nothing happens for PostgreSQL, or while somebody else writes.
    """
    if engine.dialect.name != "sqlite":
        return False
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        free, pages, size = (
            int(conn.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("freelist_count", "page_count", "page_size")
        )
        if 2 * free <= pages or free * size < worth:
            return False
        try:
            conn.exec_driver_sql("VACUUM")
            conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        except OperationalError:  # locked: another gc will come
            return False
    return True
