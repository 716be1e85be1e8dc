"""The ledger and the coordinator with one guard dropped at a time; the seeds must notice each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest import mock

from sqlalchemy import Connection, and_, delete, literal, select, true, update
from sqlalchemy.sql.elements import ColumnElement

from manifold.abc import Store
from manifold.coordinator import backlog, budget, plan, receipts, sameness
from manifold.coordinator import loop as coordinator
from manifold.coordinator.plan import Planner
from manifold.errors import Fenced
from manifold.ledger import claim, commit, ending, gc, guards, ledger, queries, withdraw
from manifold.ledger.tables import attempt, chunk, scatter
from manifold.policy import Tolerance
from manifold.protocol.records import ChunkRow, Receipt, ScatterRow

Mutant = Callable[[], AbstractContextManager[object]]
_patch = mock.patch.object


@contextmanager
def _both(one: AbstractContextManager[object], other: AbstractContextManager[object]) -> Iterator[None]:
    with one, other:
        yield


def _commit_without(dropped: Callable[[], ColumnElement[bool]]) -> AbstractContextManager[object]:
    kept = [condition() for condition in guards.COMMIT if condition is not dropped]
    return _patch(commit, "INSERT_CHUNK", guards.insert_chunk(kept))


# -- the fence -------------------------------------------------------------------------------------------------------


def _any_epoch(uid: str, _epoch: int, _token: str) -> ColumnElement[bool]:
    return and_(scatter.c.uid == uid, scatter.c.state == "running")


@contextmanager
def _unfenced(*methods: str) -> Iterator[None]:
    """The epoch is not asked for in these methods of a claim."""
    lax: set[int] = set()
    lock = claim.Claim._lock

    def locked(self: claim.Claim, conn: Connection) -> Any:
        if id(self) not in lax:
            return lock(self, conn)
        with _patch(guards, "mine", _any_epoch):
            return lock(self, conn)

    def loosened(original: Callable[..., Any], self: claim.Claim, *args: Any, **options: Any) -> Any:
        lax.add(id(self))
        try:
            return original(self, *args, **options)
        finally:
            lax.discard(id(self))

    lax_methods: dict[str, Any] = {name: _method(loosened, name) for name in methods}
    with mock.patch.multiple(claim.Claim, _lock=locked, **lax_methods):
        yield


def _method(around: Callable[..., Any], name: str) -> Callable[..., Any]:
    original = getattr(claim.Claim, name)
    return lambda self, *args, **options: around(original, self, *args, **options)


# -- what a transition does ------------------------------------------------------------------------------------------


def _had_won_is_lost(conn: Connection, row: ScatterRow, now: float, given: Sequence[Receipt]) -> Any:
    _, fresh = _INSERT_CHUNKS(conn, row, now, given)
    return [receipt in fresh for receipt in given], fresh


_INSERT_CHUNKS = commit._insert_chunks


def _end_leaves_attempts(conn: Connection, row: ScatterRow, now: float, state: Any, message: str | None) -> ScatterRow:
    with _patch(
        ending, "update", lambda table: update(table).where(true() if table is scatter else attempt.c.id == "")
    ):
        return _END(conn, row, now, state, message)


_END = ending.end


def _old_one_lives_on(conn: Connection, row: ScatterRow, now: float, state: Any, message: str | None) -> ScatterRow:
    return row if state == "replaced" else _END(conn, row, now, state, message)


def _counts_as_whole(conn: Connection, row: ScatterRow) -> tuple[int, bool]:
    return row.total or 0, _ACCOUNT(conn, row)[1]


def _no_suspects(conn: Connection, row: ScatterRow) -> tuple[int, bool]:
    return _ACCOUNT(conn, row)[0], False


_ACCOUNT = ending.account


def _any_total(self: claim.Claim, total: int) -> ScatterRow:
    return self._write(lambda conn, row, now: claim._set(conn, row, total=total))


def _total_below_chunks(self: claim.Claim, total: int) -> ScatterRow:
    return self.row if self.row.total is not None else _any_total(self, total)


def _finish_at_any_cost(self: claim.Claim, _tolerance: Tolerance) -> ScatterRow:
    return _FINISH(self, Tolerance(share=1.0))


_FINISH = claim.Claim.finish


def _reruns_stay(conn: Connection, row: ScatterRow, base: ChunkRow) -> ScatterRow:
    conn.execute(delete(chunk).where(chunk.c.uid == row.uid, chunk.c.layer == 0, chunk.c.start == base.start))
    return withdraw._uncount(conn, row, (base,))


def _suspect_whatever_is_there(self: ledger.Ledger, which: ChunkRow) -> bool:
    same = and_(chunk.c.uid == which.uid, chunk.c.layer == which.layer, chunk.c.start == which.start)
    marked = update(chunk).where(same).values(suspect_at=self.now())
    return self.database.write(lambda conn: conn.execute(marked).rowcount == 1)


# -- gc and readers --------------------------------------------------------------------------------------------------


def _nothing_is_open(conn: Connection, ids: list[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {id_: ("void", named) for id_, (_, named) in _STATES(conn, ids).items()}


_STATES = gc._states


def _looks_first(book: ledger.Ledger, row: ScatterRow, store: Store, *, dry_run: bool = False) -> gc.Collected:
    """gc that reads the ledger before it lists the store."""
    prefix = f"{book.uuid}/{row.uid}/"
    attempts = book.database.read(lambda conn: conn.execute(select(attempt.c.id)).scalars().all())
    states = book.database.read(lambda conn: _STATES(conn, list(attempts)))
    listed = sorted(store.keys(prefix))
    with _patch(gc, "_states", lambda _conn, ids: {id_: states[id_] for id_ in ids if id_ in states}):
        wanted = book.database.read(lambda conn: gc._wanted(conn, row.uid, prefix, listed))
    keys = [key for key in listed if key not in wanted]
    gc._delete(store, keys)
    return gc.Collected(row.uid, row.name, keys)


def _retires_the_living(conn: Connection, row: ScatterRow, now: Any) -> bool:
    return _EMPTY(conn, queries.scatter_row(conn, row.uid), literal(1e18))  # by then, every lease is over


_EMPTY = gc._empty


def _as_of_now(conn: Connection, uid: str, after: int, limit: int, as_of: int | None) -> Any:
    return _MERGED_PAGE(conn, uid, after, limit, None)


_MERGED_PAGE = queries.merged_page


# -- the coordinator -------------------------------------------------------------------------------------------------


def _deletes_unsettled(self: coordinator.Coordinator, chunks: Any) -> None:
    batch = list(self._hearing.receipts)
    try:
        _WRITE(self, chunks)
    except Fenced:
        for _, receipt in batch:
            self._parts.receipts.discard(receipt)
        raise


_WRITE = coordinator.Coordinator._write


def _broken_is_ended(self: Planner, size: int) -> Any:
    try:
        return _TAKE(self, size)
    except OSError:
        return []


_TAKE = Planner._take


MUTANTS: dict[str, Mutant] = {
    # commit
    "an attempt that is not open commits": partial(_commit_without, guards.attempt_is_open),
    "chunks overlap": partial(_commit_without, guards.nothing_is_there),
    "a chunk reaches past the end": partial(_commit_without, guards.within_total),
    "an attempt wins and stays open": lambda: _patch(commit, "_settle_attempts", lambda *_: None),
    "a commit in doubt counts as lost": lambda: _patch(commit, "_insert_chunks", _had_won_is_lost),
    "failures are not written down": lambda: _patch(commit, "_replace_failures", lambda *_: None),
    # the fence
    "no epoch is asked for": lambda: _patch(guards, "mine", _any_epoch),
    "a fenced coordinator counts the items": lambda: _unfenced("set_total"),
    "a fenced coordinator withdraws": lambda: _unfenced("withdraw", "withdraw_epoch"),
    "a fenced coordinator ends the scatter": lambda: _unfenced("end", "finish"),
    "a fenced coordinator gives the scatter up": lambda: _unfenced("release"),
    # acquire and fresh
    "who lives is taken over": lambda: _patch(guards, "free", lambda *_: true()),
    "what was replaced is taken up": lambda: _patch(guards, "not_replaced", true),
    "re-runs of an earlier epoch stay open": lambda: _patch(ledger, "void_reruns", lambda *_: None),
    "a fresh start leaves the old one alive": lambda: _patch(claim, "end", _old_one_lives_on),
    # the end
    "a rest is forgotten, and gaps do not matter": lambda: _both(
        _patch(claim, "account", _counts_as_whole), _patch(backlog.Backlog, "again", lambda *_: None)
    ),
    "suspects do not matter": lambda: _patch(claim, "account", _no_suspects),
    "tolerance does not matter": lambda: _both(
        _patch(claim.Claim, "finish", _finish_at_any_cost), _patch(budget.Budget, "check", lambda *_: None)
    ),
    "attempts outlive the scatter": lambda: _patch(claim, "end", _end_leaves_attempts),
    "the total changes": lambda: _patch(claim.Claim, "set_total", _any_total),
    "the total is below a chunk": lambda: _patch(claim.Claim, "set_total", _total_below_chunks),
    "a source that breaks off has ended": lambda: _patch(Planner, "_take", _broken_is_ended),
    # withdraw and suspect
    "re-runs outlive what they lay over": lambda: _patch(withdraw, "_withdraw_base", _reruns_stay),
    "suspicion falls on a successor": lambda: _patch(ledger.Ledger, "suspect", _suspect_whatever_is_there),
    # gc and readers
    "gc gives up attempts at work": lambda: _patch(guards, "of_older_epoch", true),
    "gc takes the blobs of open attempts": lambda: _patch(gc, "_states", _nothing_is_open),
    "gc lists the store last": lambda: _patch(gc, "collect", _looks_first),
    "gc retires what runs again": lambda: _patch(gc, "_empty", _retires_the_living),
    "a reader sees what came after": lambda: _patch(queries, "merged_page", _as_of_now),
    # the coordinator
    "chunks are sent before they are written down": lambda: _patch(commit, "write_attempts", lambda *_: None),
    "blobs are deleted before the commit is settled": lambda: _patch(
        coordinator.Coordinator, "_write", _deletes_unsettled
    ),
    "the rest after a prefix is forgotten": lambda: _patch(backlog.Backlog, "again", lambda *_: None),
    "blobs are committed before they are put": lambda: _patch(
        receipts.Receipts, "complete", lambda _self, receipt, _blobs: receipt
    ),
    "what was adopted is planned again": lambda: _patch(plan, "in_order", lambda rows, _spans: rows),
    "another input is not noticed": lambda: _patch(sameness, "input_changed", lambda *_: False),
}
"""What is dropped, by what then goes wrong."""

SURVIVES: dict[str, Mutant] = {"a fenced coordinator commits": lambda: _unfenced("commit")}
"""The epoch test of commit alone: committed intervals are disjoint whoever commits them."""
