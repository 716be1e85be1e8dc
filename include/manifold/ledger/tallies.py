"""What coordinators have counted for the metrics, and how it outlives the scatters that it was counted in.

A row belongs to one try (uid, epoch) on one engine. Its owner alone writes it, below the scatter's lock, as a sum since
the try began, so that a transaction whose COMMIT was in doubt may be run again. When a scatter ends, its rows are added
to those of all ended scatters on its engines: the table stays small, and gc takes nothing from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, delete, func, literal, select, true

from manifold.ledger.tables import insert_into, tally
from manifold.protocol.records import ScatterRow
from manifold.redaction import without_login

ENDED = ""
"""Stands for the uid of all scatters that have ended."""

_KEY = ["uid", "epoch", "engine", "name"]


def write_tallies(conn: Connection, row: ScatterRow, sums: Mapping[str, float] | None) -> None:
    """Write down what the owner of the scatter has counted in its epoch so far."""
    if not sums:
        return
    mine = {"uid": row.uid, "epoch": row.epoch, "engine": without_login(row.engine)}
    newest = insert_into(conn.dialect.name, tally)
    replacing = newest.on_conflict_do_update(index_elements=_KEY, set_={"value": newest.excluded.value})
    conn.execute(replacing, [mine | {"name": name, "value": value} for name, value in sorted(sums.items())])


def fold_tallies(conn: Connection, uid: str) -> None:
    """Add what one scatter has counted to the sums of those that have ended already."""
    added = insert_into(conn.dialect.name, tally)
    mine = sums_by_engine().where(tally.c.uid == uid).subquery().c
    # In one order, so that two that end at once do not wait for each other; SQLite requires the condition.
    sums = select(literal(ENDED), literal(0), *mine).where(true()).order_by(mine.engine, mine.name)
    adding = added.from_select([*_KEY, "value"], sums).on_conflict_do_update(
        index_elements=_KEY, set_={"value": tally.c.value + added.excluded.value}
    )
    conn.execute(adding)
    conn.execute(delete(tally).where(tally.c.uid == uid))


def sums_by_engine() -> Select[Any]:
    """(engine, name, value) over all tries."""
    of = tally.c
    return select(of.engine, of.name, func.sum(of.value).label("value")).group_by(of.engine, of.name)
