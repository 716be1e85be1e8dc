"""The ledger and the coordinator with one guard dropped at a time; the seeds must notice each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
from sqlalchemy import Connection, and_, delete, literal, select, true, update
from sqlalchemy.sql.elements import ColumnElement

from manifold.abc import Store
from manifold.coordinator import (
    budget,
    chunks,
    compatibility,
    dispatch,
    given,
    losses,
    receipts,
    redrive,
    start,
    wiring,
)
from manifold.coordinator import loop as coordinator
from manifold.coordinator.compatibility import Compatibility
from manifold.coordinator.flow_control import FlowControl
from manifold.coordinator.pending import PendingChunks
from manifold.coordinator.planner import Planner
from manifold.errors import Fenced
from manifold.ledger import claim, commit, ending, gc, guards, ledger, queries, withdraw
from manifold.ledger.describing import described
from manifold.ledger.rows import columns
from manifold.ledger.tables import attempt, chunk, control, scatter
from manifold.policy import Tolerance
from manifold.protocol import definitions
from manifold.protocol.blob_keys import scatter_prefix
from manifold.protocol.records import ChunkRow, ControlRow, Receipt, ScatterRow
from manifold.stores.patient import PatientStore
from manifold.token_bucket import TokenBucket
from manifold.worker import alarm, concurrent, process

Mutant = Callable[[], AbstractContextManager[object]]
_patch = mock.patch.object


@contextmanager
def _both(one: AbstractContextManager[object], other: AbstractContextManager[object]) -> Iterator[None]:
    with one, other:
        yield


def _commit_without(dropped: guards.Guard) -> AbstractContextManager[object]:
    return _patch(commit, "GUARDS", tuple(guard for guard in guards.COMMIT if guard is not dropped))


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
    return self._write(lambda conn, row, now: described(conn, row, total=total))


def _total_below_chunks(self: claim.Claim, total: int) -> ScatterRow:
    return self.row if self.row.total is not None else _any_total(self, total)


def _finish_at_any_cost(self: claim.Claim, _tolerance: Tolerance, tallies: Any = None) -> ScatterRow:
    return _FINISH(self, Tolerance(share=1.0), tallies)


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
    attempts = book.database.read(lambda conn: conn.execute(select(attempt.c.id)).scalars().all())
    states = book.database.read(lambda conn: _STATES(conn, list(attempts)))
    listed = sorted(store.keys(scatter_prefix(book.uuid, row.uid)))
    with _patch(gc, "_states", lambda _conn, ids: {id_: states[id_] for id_ in ids if id_ in states}):
        wanted = book.database.read(lambda conn: gc._wanted(conn, row.uid, listed))
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
    batch = list(self._replies.receipts)
    try:
        _WRITE(self, chunks)
    except Fenced:
        for _, receipt in batch:
            self._context.receipts.discard(receipt)
        raise


_WRITE = coordinator.Coordinator._write


def _broken_is_ended(self: Planner, size: int) -> Any:
    try:
        return _TAKE(self, size)
    except OSError:
        return []


_TAKE = Planner._take


def _no_change_is_met(self: Planner, row: ChunkRow) -> None:
    with _patch(self, "_check", False):
        _PASS(self, row)


_PASS = Planner._pass


def _requests_of_any_epoch(self: queries.Reader, uid: str) -> list[ControlRow]:
    asked = select(*columns(control, ControlRow)).where(control.c.uid == uid, control.c.applied_epoch.is_(None))
    unseen = self._all(ControlRow, asked.where(control.c.verb.in_(("cancel", "drain"))))
    seen = {one.no for one in unseen}
    return sorted((*unseen, *(one for one in _PENDING(self, uid) if one.no not in seen)), key=lambda one: one.no)


_PENDING = queries.Reader.pending_controls


def _first_page(ledger: ledger.Ledger, uid: str) -> Iterator[ChunkRow]:
    yield from ledger.chunks(uid, limit=wiring._PAGE)


def _takes_receipts_as_they_are(self: receipts.Receipts, receipt: Receipt, blobs: Any) -> Receipt:
    return _COMPLETE(self, msgspec.structs.replace(receipt, failures_cut=False), blobs)


_COMPLETE = receipts.Receipts.complete


def _overlays_are_withdrawn_alone(conn: Connection, row: ScatterRow, base: ChunkRow) -> ScatterRow:
    """What is under way over a chunk outlives it."""
    waiting = and_(attempt.c.uid == row.uid, attempt.c.state == "open", attempt.c.layer > 0)
    ids = conn.execute(select(attempt.c.id).where(waiting)).scalars().all()
    row = _WITHDRAW_BASE(conn, row, base)
    conn.execute(update(attempt).where(attempt.c.id.in_(ids)).values(state="open"))
    return row


_WITHDRAW_BASE = withdraw._withdraw_base


# -- workers and changes ---------------------------------------------------------------------------------------------


def _if_asked_for(self: Any, _row: ScatterRow) -> list[str] | None:
    return [] if self._plan.mode == "fresh" else None


def _only_other_items(self: Compatibility) -> bool:
    return self.compare


def _patient(seconds: float, store: Store, *, patience: float, **options: Any) -> PatientStore:
    return PatientStore(store, patience=seconds, **options)


_TIMEOUT = asyncio.timeout


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
        _patch(claim, "account", _counts_as_whole), _patch(PendingChunks, "again", lambda *_: None)
    ),
    "suspects do not matter": lambda: _patch(claim, "account", _no_suspects),
    "tolerance does not matter": lambda: _both(
        _patch(claim.Claim, "finish", _finish_at_any_cost), _patch(budget.Budget, "check", lambda *_: None)
    ),
    "re-runs that a failover takes are not missed": lambda: _patch(
        coordinator.Coordinator, "_reruns_were_lost", lambda _: False
    ),
    "a re-run may touch what is not failed": lambda: _patch(commit, "still_failed", lambda *_: True),
    "a re-run lies over nothing": lambda: _both(
        _commit_without(guards.inside_one_base_chunk), _patch(commit, "still_failed", lambda *_: True)
    ),
    "attempts outlive the scatter": lambda: _patch(claim, "end", _end_leaves_attempts),
    "the total changes": lambda: _patch(claim.Claim, "set_total", _any_total),
    "the total is below a chunk": lambda: _patch(claim.Claim, "set_total", _total_below_chunks),
    "a source that breaks off has ended": lambda: _patch(Planner, "_take", _broken_is_ended),
    # withdraw and suspect
    "re-runs outlive what they lay over": lambda: _patch(withdraw, "_withdraw_base", _reruns_stay),
    "suspicion falls on a successor": lambda: _patch(ledger.Ledger, "suspect", _suspect_whatever_is_there),
    "what was committed of another input stays": lambda: _patch(claim.Claim, "withdraw_epoch", claim.Claim.renew),
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
    "the rest after a prefix is forgotten": lambda: _patch(PendingChunks, "again", lambda *_: None),
    "blobs are committed before they are put": lambda: _patch(
        receipts.Receipts, "complete", lambda _self, receipt, _blobs: receipt
    ),
    "what was adopted is planned again": lambda: _patch(wiring, "in_order", lambda rows, _spans: rows),
    "another input is not noticed": lambda: _patch(compatibility, "input_changed", lambda *_: False),
    "committed items are not compared": lambda: _patch(Planner, "_pass", _no_change_is_met),
    "the rest of an overlay is forgotten": lambda: _patch(PendingChunks, "_overlay_again", lambda *_: None),
    "copies are not stopped": lambda: _patch(dispatch.Dispatch, "stop_copies", lambda *_: 0),
    "a cancel outlives its epoch": lambda: _patch(queries.Reader, "pending_controls", _requests_of_any_epoch),
    "all failed items run again, whichever were chosen": lambda: _patch(redrive.Redrive, "_is_chosen", lambda *_: True),
    "the plan sees one page of what is committed": lambda: _patch(wiring, "base_rows", _first_page),
    "failures that were cut off are not read": lambda: _patch(
        receipts.Receipts, "complete", _takes_receipts_as_they_are
    ),
    "what fails to arrive is taken for done": lambda: _patch(PendingChunks, "put", lambda *_: None),
    # bounds
    "one death makes poison": lambda: _patch(losses, "STRIKES", 1),
    "no number of deaths makes poison": lambda: _patch(losses, "STRIKES", 1000),
    "the window is open": lambda: _patch(FlowControl, "_room", lambda _self: 99),
    "the weight of items bounds nothing": lambda: _patch(chunks.Sizer, "packed", lambda *_: None),
    "tokens are not asked for": lambda: _patch(TokenBucket, "take", lambda *_: True),
    "retries cost no token": lambda: _patch(TokenBucket, "charge", lambda *_: None),
    # changes between tries
    "a changed global is not noticed": lambda: _patch(definitions, "_referred", lambda _: {}),
    "what was loaded again has changed": lambda: _patch(given.Given, "code_changed", lambda _, row: bool(row.fn_key)),
    "a change stops nothing": lambda: _patch(compatibility, "refuse_changes", lambda *_: None),
    "a change begins nothing from scratch": lambda: _patch(start._Try, "_takes_its_place", _if_asked_for),
    "no change is reported": lambda: _patch(compatibility, "warnings", lambda *_: []),
    "what other code has sent counts": lambda: _patch(Compatibility, "other_work", property(_only_other_items)),
    # time
    "no alarm rings": lambda: _patch(alarm.Alarm, "around", lambda _, call: call),
    "nobody knows when an item is overdue": lambda: _patch(alarm.Alarm, "deadline", lambda _: None),
    "an item that does not end is sent again": lambda: _patch(losses.Losses, "_overdue", losses.Losses._struck),
    "items that run together run for ever": lambda: _patch(asyncio, "timeout", lambda _: _TIMEOUT(None)),
    "lines of items that run together are mixed": lambda: _patch(
        concurrent, "capture", SimpleNamespace(item=ContextVar[int]("nobody's"))
    ),
    "workers do not wait for the store": lambda: _patch(process, "PatientStore", partial(_patient, 0.0)),
    "workers wait for the store for ever": lambda: _patch(process, "PatientStore", partial(_patient, 1e9)),
    # workers
    "workers run what is of an older epoch": lambda: _patch(
        process.Process, "newest_epoch", lambda _self, _uid, epoch: epoch
    ),
}
"""What is dropped, by what then goes wrong."""

SURVIVES: dict[str, Mutant] = {
    # committed intervals are disjoint whoever commits them
    "a fenced coordinator commits": lambda: _unfenced("commit"),
    # nothing brings what these keep out while each claim begins without re-runs; tests/ledger drops them by hand
    "re-runs under way outlive what they lay over": lambda: _patch(
        withdraw, "_withdraw_base", _overlays_are_withdrawn_alone
    ),
    # where a failover has taken the chunk below, nothing there is failed any more, which is asked for as well
    "a re-run need not lie inside one chunk": lambda: _commit_without(guards.inside_one_base_chunk),
}
"""Guards that others stand behind, dropped alone."""
