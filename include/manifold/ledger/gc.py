"""Collecting what no chunk names: blobs of executions that lost, and scatters that nobody will ask for again.

The order is what makes it safe beside living coordinators: the store is listed first, the ledger read afterwards. An
attempt is in the ledger before any worker can write a blob of it, so a key whose attempt is unknown or closed by the
time of the second look can never be committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, func, not_, select, update
from sqlalchemy.sql.elements import ColumnElement

from manifold.abc import Store
from manifold.errors import StoreError
from manifold.ledger.ledger import Ledger
from manifold.ledger.queries import scatter_row
from manifold.ledger.rows import built, columns
from manifold.ledger.states import alive
from manifold.ledger.tables import attempt, chunk, control, error_kind, failure, pin, scatter, scatter_try, worker
from manifold.protocol.blob_keys import blob_of, execution_of, parsed, scatter_prefix
from manifold.protocol.records import TERMINAL, ScatterRow

OpenStore = Callable[[ScatterRow], Store]

_RESULTS = ("r", "f")  # blob and sidecar, which a chunk names; a log is named by nobody and stays with its execution
_COLLECTED = "collected"
_IDS_AT_ONCE = 500


class Collected(msgspec.Struct, frozen=True):
    """What went from one scatter, or would go: its keys, and whether its rows went too."""

    uid: str
    name: str
    keys: list[str]
    retired: bool = False


def sweep(
    ledger: Ledger,
    open_store: OpenStore,
    *,
    older_than: float | None = None,
    also: Iterable[ScatterRow] = (),
    dry_run: bool = False,
    skip: Callable[[ScatterRow, StoreError], None] | None = None,
) -> list[Collected]:
    """What was collected of each scatter that had something to collect.

    Args:
        open_store: opens the store that a scatter wrote to; it is closed again.
        older_than: scatters that ended more than so many seconds ago, or have had no coordinator for so long, go as a
            whole; None: none of them.
        also: scatters that go as a whole however young they are, as somebody has read them from the ledger.
        dry_run: only say what would go.
        skip: called with each scatter whose store cannot be used, which is left as it is; None: that ends the sweep,
            which may be run again.
    """
    if not dry_run:
        ledger.void_stale()
    # As they were when they were found old: one that has been taken up since is left alone.
    old = {row.uid: row for row in retirable(ledger, older_than)} if older_than is not None else {}
    old |= {row.uid: row for row in also}
    done = []
    for row in _uncollected(ledger):
        try:
            with closing(open_store(row)) as store:
                if row.uid in old:
                    collected = retire(ledger, old[row.uid], store, dry_run=dry_run)
                else:
                    collected = collect(ledger, row, store, dry_run=dry_run)
        except StoreError as exc:
            if skip is None:
                raise
            skip(row, exc)
            continue
        if collected.keys or collected.retired:
            done.append(collected)
    return done


def collect(ledger: Ledger, row: ScatterRow, store: Store, *, dry_run: bool = False) -> Collected:
    """The keys of one scatter that no chunk names and no attempt can still commit; deleted."""
    prefix = scatter_prefix(ledger.uuid, row.uid)
    listed = sorted(store.keys(prefix))
    wanted = ledger.database.read(lambda conn: _wanted(conn, row.uid, listed))
    keys = [key for key in listed if key not in wanted]
    if not dry_run:
        _delete(store, keys)
    return Collected(row.uid, row.name, keys)


def retirable(ledger: Ledger, older_than: float) -> list[ScatterRow]:
    """The scatters that ended, or that nobody has coordinated, for more than `older_than` seconds, and were not
    collected as a whole yet."""
    since = func.coalesce(scatter.c.ended_at, _last_sign())
    old = and_(not_(alive(ledger.now())), scatter.c.collected_at.is_(None), since < ledger.now() - older_than)
    asked = select(*columns(scatter, ScatterRow)).where(old).order_by(since)
    return ledger.database.read(lambda conn: [built(ScatterRow, row) for row in conn.execute(asked)])


def of_idle_tasks(ledger: Ledger) -> list[ScatterRow]:
    """The scatters of Airflow's task instances that have no coordinator, and that were not collected as a whole yet."""
    idle = scatter.c.owner_key.is_not(None), not_(alive(ledger.now())), scatter.c.collected_at.is_(None)
    asked = select(*columns(scatter, ScatterRow)).where(*idle).order_by(scatter.c.created_at)
    return ledger.database.read(lambda conn: [built(ScatterRow, row) for row in conn.execute(asked)])


def _last_sign() -> ColumnElement[float]:
    """When the latest coordinator of a scatter that has not ended last reported."""
    mine = (scatter_try.c.uid == scatter.c.uid, scatter_try.c.epoch == scatter.c.epoch)
    ended = select(scatter_try.c.ended_at).where(*mine).correlate(scatter).scalar_subquery()
    return func.coalesce(scatter.c.lease_until, ended, scatter.c.claimed_at, scatter.c.created_at)


def retire(ledger: Ledger, row: ScatterRow, store: Store, *, dry_run: bool = False) -> Collected:
    """Delete a scatter without a coordinator as a whole: first its rows, then its keys. Its uid stays, so that
    nothing of it ever comes back, and its name may be used again."""
    prefix = scatter_prefix(ledger.uuid, row.uid)
    if dry_run:
        return Collected(row.uid, row.name, sorted(store.keys(prefix)), retired=True)
    if not ledger.database.write(lambda conn: _empty(conn, row, ledger.now())):
        return Collected(row.uid, row.name, [])
    keys = sorted(store.keys(prefix))
    _delete(store, keys)
    # A failover may have undone the first step: then the scatter lives, and what it puts is collected as ever.
    empty = (scatter.c.uid == row.uid, scatter.c.state == "replaced")
    gone = update(scatter).where(*empty).values(collected_at=ledger.now())
    ledger.database.write(lambda conn: conn.execute(gone).rowcount)
    return Collected(row.uid, row.name, keys, retired=True)


def _uncollected(ledger: Ledger) -> list[ScatterRow]:
    asked = select(*columns(scatter, ScatterRow)).where(scatter.c.collected_at.is_(None))
    return ledger.database.read(
        lambda conn: [built(ScatterRow, row) for row in conn.execute(asked.order_by(scatter.c.created_at))]
    )


def _wanted(conn: Connection, uid: str, listed: Iterable[str]) -> set[str]:
    """The keys that stay: named by a chunk or the scatter, of an attempt that may still commit, or unknown to us while
    the scatter runs (its function's key is put before it is written down)."""
    row = scatter_row(conn, uid)
    chunks = {key: parsed(key) for key in listed}
    states = _states(conn, sorted({match["attempt"] for match in chunks.values() if match}))
    wanted = set()
    for key, match in chunks.items():
        if match is None:
            keep = blob_of(key) == row.fn_key or row.state not in TERMINAL
        else:
            state, named = states.get(match["attempt"], ("void", ()))
            same = blob_of(key) in named if match["kind"] in _RESULTS else execution_of(key) in map(execution_of, named)
            keep = state == "open" or same
        if keep:
            wanted.add(key)
    return wanted


def _states(conn: Connection, ids: list[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Each attempt's state, and the keys that its chunk names, if it has one."""
    found = {}
    for first in range(0, len(ids), _IDS_AT_ONCE):
        asked = (
            select(attempt.c.id, attempt.c.state, chunk.c.blob_key, chunk.c.fail_key)
            .outerjoin(chunk, chunk.c.attempt == attempt.c.id)
            .where(attempt.c.id.in_(ids[first : first + _IDS_AT_ONCE]))
        )
        for id_, state, *keys in conn.execute(asked):
            found[id_] = (state, tuple(key for key in keys if key))
    return found


def _empty(conn: Connection, row: ScatterRow, now: ColumnElement[float]) -> bool:
    """Delete the rows of a scatter that has no coordinator, and leave its uid; False if it runs again by now."""
    account = f"{row.n_ok:,} ok, {row.n_failed:,} failed, {row.n_skipped:,} skipped"
    tombstone: dict[str, Any] = {"state": "replaced", "n_ok": 0, "n_failed": 0, "n_skipped": 0, "fn_key": None}
    if not (row.message or "").startswith(_COLLECTED):  # else a retirement was cut off, and this completes it
        was = f"had ended as {row.state}" if row.state in TERMINAL else "had stopped"
        tombstone["message"] = f"{_COLLECTED}; it {was}: {account}"
    same = and_(scatter.c.uid == row.uid, scatter.c.state == row.state, scatter.c.epoch == row.epoch, not_(alive(now)))
    if conn.execute(update(scatter).where(same).values(tombstone)).rowcount != 1:
        return False
    for table in (pin, scatter_try, chunk, attempt, failure, error_kind, control, worker):
        conn.execute(delete(table).where(table.c.uid == row.uid))
    return True


def _delete(store: Store, keys: Iterable[str]) -> None:
    for key in keys:
        store.delete(key)
