"""Proof that every item is accounted for: from the ledger alone, and, deep, from the store as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection, select

from manifold.abc import Store
from manifold.errors import BlobNotFound, WireError
from manifold.ledger.invariants import rules
from manifold.ledger.ledger import Ledger
from manifold.ledger.merged import MergedRow
from manifold.ledger.queries import PAGE, Reader, merged_page
from manifold.ledger.tables import failure, scatter
from manifold.protocol import outcome
from manifold.protocol.blob_keys import blob_of, execution_of, function_digest, scatter_prefix
from manifold.protocol.envelope import sealed_digest
from manifold.protocol.records import ChunkRow
from manifold.stores.patient import in_one_piece


class Violation(NamedTuple):
    """Something that must not be: which invariant, in which scatter, and what was found."""

    invariant: str
    uid: str
    text: str


Complaint = Callable[[ChunkRow, str, bytes], str | None]
"""What is wrong with the bytes that the store has at a chunk's key, or None."""


def verify(ledger: Reader, uid: str | None = None) -> list[Violation]:
    """What the ledger says against one scatter, or against all: nothing, if all is well (I1 to I6).

    All it reads is of one moment, so it may run beside a coordinator.
    """

    def work(conn: Connection) -> list[Violation]:
        found = []
        for invariant, text, broken in rules():
            asked = broken if uid is None else broken.where(broken.selected_columns[0] == uid)
            found += [Violation(invariant, row[0], text.format(*row[1:])) for row in conn.execute(asked)]
        uids = [uid] if uid else conn.execute(select(scatter.c.uid).order_by(scatter.c.created_at)).scalars().all()
        for one in uids:
            for merged in _all_merged(conn, one):
                found += [Violation(invariant, one, text) for invariant, text in _decoded(conn, merged)]
        return found

    return ledger.database.read(work)


def verify_blobs(
    ledger: Ledger, uid: str, store: Store, complaint: Complaint | None = None, *, collected: bool = False
) -> list[Violation]:
    """What the store says against one scatter (I7). Reads every blob.

    Args:
        complaint: looks into a blob whose digest is right; None: the digest is enough.
        collected: gc was there after the last attempt, so a key that no chunk names is a violation too.
    """
    found, named = [], set()
    store = in_one_piece(store)
    for merged in ledger.merged(uid):
        for row in (merged.base, *merged.overlays):
            for key, digest in ((row.blob_key, row.blob_digest), (row.fail_key, row.fail_digest)):
                if key is None:
                    continue
                named.add(execution_of(key))
                if wrong := _wrong_blob(store, row, key, digest, complaint):
                    found.append(Violation("I7", uid, f"{_where(row)}: {key}: {wrong}"))
    function = ledger.scatter(uid).fn_key
    if function is not None and (wrong := _wrong_function(store, function)):
        found.append(Violation("I7", uid, f"{function}: {wrong}"))
    if collected:
        strays = [
            key
            for key in store.keys(scatter_prefix(ledger.uuid, uid))
            if blob_of(key) != function and execution_of(key) not in named
        ]
        found += [Violation("I7", uid, f"{key} is of no chunk") for key in sorted(strays)]
    return found


def _wrong_blob(store: Store, row: ChunkRow, key: str, digest: str | None, complaint: Complaint | None) -> str | None:
    try:
        data = store.get(key)
        if sealed_digest(data) != digest:
            return "its digest is not the one that was committed"
    except BlobNotFound:
        return "the store has no such key"
    except WireError as exc:
        return str(exc)
    return complaint(row, key, data) if complaint else None


def _wrong_function(store: Store, key: str) -> str | None:
    """A missing one is not a violation: it may have travelled with the chunks alone."""
    if not (digest := function_digest(key)):
        return None
    try:
        right = sealed_digest(store.get(key)).startswith(digest)
    except BlobNotFound:
        return None
    except WireError as exc:
        return str(exc)
    return None if right else "its digest is not the one that the ledger names"


def _all_merged(conn: Connection, uid: str) -> Iterator[MergedRow]:
    after = -1
    while page := merged_page(conn, uid, after, PAGE, None):
        yield from page
        after = page[-1].base.start


def _decoded(conn: Connection, merged: MergedRow) -> Iterator[tuple[str, str]]:
    """(invariant, text) of what the outcomes of a chunk and its re-runs contradict."""
    base = merged.base
    below: dict[int, int] = {}  # each position that is failed so far, and the layer that says so
    for row in (base, *merged.overlays):
        try:
            spans = list(outcome.spans(row.outcome, row.start, row.stop))
        except ValueError as exc:
            yield "I3", f"{_where(row)}: {exc}"
            return
        counts = outcome.count(row.outcome, row.stop - row.start)
        if counts[:3] != (row.n_ok, row.n_failed, row.n_skipped) or (counts.untouched and row is base):
            yield (
                "I3",
                f"{_where(row)} counts {row.n_ok} ok, {row.n_failed} failed, {row.n_skipped} skipped of {counts}",
            )
        for letter, start, stop in spans:
            if letter == outcome.UNTOUCHED:
                continue
            unfailed = [pos for pos in range(start, stop) if row is not base and below.pop(pos, None) is None]
            if unfailed:
                yield "I4", f"{_where(row)} touches item {unfailed[0]}, which had not failed"
            if letter == outcome.FAILED:
                below.update(dict.fromkeys(range(start, stop), row.layer))
    if base.n_failed:
        held = conn.execute(
            select(failure.c.pos, failure.c.layer).where(
                failure.c.uid == base.uid, failure.c.pos >= base.start, failure.c.pos < base.stop
            )
        )
        wrong = sorted(below.items() ^ {(pos, layer) for pos, layer in held})
        if wrong:
            yield "I3", f"{_where(base)}: item {wrong[0][0]}: its failure row is not what its outcome says"


def _where(row: ChunkRow) -> str:
    layer = f" in layer {row.layer}" if row.layer else ""
    return f"the chunk [{row.start}, {row.stop}){layer}"
