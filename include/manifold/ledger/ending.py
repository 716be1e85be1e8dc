"""How a scatter ends: its account, and what its rows say from then on."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, and_, delete, exists, func, select, update

from manifold.errors import LedgerError
from manifold.ledger.rows import stored
from manifold.ledger.tables import attempt, chunk, failure, pin, scatter
from manifold.ledger.tallies import fold_tallies
from manifold.ledger.tries import end_try
from manifold.protocol.records import ScatterRow, ScatterState

NOBODY = {"owner": None, "owner_token": None, "lease_until": None}
"""The columns of a scatter that nobody owns."""
_MESSAGE = 2000  # characters kept


def end(conn: Connection, row: ScatterRow, now: float, state: ScatterState, message: str | None) -> ScatterRow:
    """The scatter, ended in this transaction: what is under way counts no more."""
    conn.execute(update(attempt).where(attempt.c.uid == row.uid, attempt.c.state == "open").values(state="void"))
    ended = {"state": state, "ended_at": now, "message": message and stored(message, _MESSAGE)}
    conn.execute(update(scatter).where(scatter.c.uid == row.uid).values(NOBODY | ended))
    if state != "running":
        end_try(conn, row.uid, now, state, message)
    if state == "replaced":  # nobody continues it
        conn.execute(delete(pin).where(pin.c.uid == row.uid))
    fold_tallies(conn, row.uid)
    return msgspec.structs.replace(row, owner=None, lease_until=None, **ended)


def void_reruns(conn: Connection, uid: str) -> None:
    """What an earlier owner was running again counts no more: its items are chosen anew."""
    reruns = and_(attempt.c.uid == uid, attempt.c.layer > 0, attempt.c.state == "open")
    conn.execute(update(attempt).where(reruns).values(state="void"))


def void_earlier(conn: Connection, row: ScatterRow) -> None:
    """What earlier owners have sent counts no more: it is of other code, constants or items."""
    earlier = and_(attempt.c.uid == row.uid, attempt.c.epoch < row.epoch, attempt.c.state == "open")
    conn.execute(update(attempt).where(earlier).values(state="void"))


def account(conn: Connection, row: ScatterRow) -> tuple[int, bool]:
    """Items that the base covers, and whether a chunk is suspect; LedgerError where the counters are wrong."""
    of = chunk.c
    sums = select(
        func.coalesce(func.sum(of.stop - of.start).filter(of.layer == 0), 0),
        func.coalesce(func.sum(of.n_ok), 0),
        func.coalesce(func.sum(of.n_failed), 0)
        - func.coalesce(func.sum(of.n_ok + of.n_failed + of.n_skipped).filter(of.layer > 0), 0),
        func.coalesce(func.sum(of.n_skipped), 0),
    )
    covered, *counters = conn.execute(sums.where(of.uid == row.uid)).one()
    failures = conn.execute(select(func.count()).where(failure.c.uid == row.uid)).scalar_one()
    if [*counters, failures] != [row.n_ok, row.n_failed, row.n_skipped, row.n_failed]:
        raise LedgerError(
            f"scatter {row.title} is not finished, for its counters are not the sums of its chunks; "
            f"`manifold verify {row.uid}` says where"
        )
    suspect = conn.execute(select(exists().where(of.uid == row.uid, of.suspect_at.is_not(None)))).scalar_one()
    return int(covered), bool(suspect)
