"""What the owner of a scatter says of it in the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, select, update

from manifold.errors import ItemsChanged
from manifold.ledger.rows import NewScatter
from manifold.ledger.tables import chunk, scatter
from manifold.protocol.records import ScatterRow

_DESCRIBED = frozenset(NewScatter.__struct_fields__) - {"uid", "name", "total", "source_pin", "system"} | {"expected"}


def check_described(names: Iterable[str]) -> None:
    """Raise TypeError for a column that a claim cannot set."""
    if unknown := sorted(set(names) - _DESCRIBED):
        raise TypeError(f"{', '.join(unknown)} cannot be described; there are {', '.join(sorted(_DESCRIBED))}")


def described(conn: Connection, row: ScatterRow, **changes: Any) -> ScatterRow:
    """Set these columns, and return the row as it is then."""
    if changes:
        conn.execute(update(scatter).where(scatter.c.uid == row.uid).values(changes))
    return msgspec.structs.replace(row, **changes)


def counted(conn: Connection, row: ScatterRow, total: int) -> ScatterRow:
    """Set how many items there are. Raises ItemsChanged where the ledger knows it otherwise."""
    beyond = select(chunk.c.stop).where(chunk.c.uid == row.uid, chunk.c.layer == 0)
    furthest = conn.execute(beyond.order_by(chunk.c.start.desc()).limit(1)).scalar() or 0
    if row.total not in (None, total):
        raise ItemsChanged(f"the input has {total:,} items; an earlier try of {row.title} counted {row.total:,}")
    if furthest > total:
        raise ItemsChanged(
            f"the input ended after {total:,} items; {row.title} has outcomes of items up to {furthest - 1:,}"
        )
    return described(conn, row, total=total)
