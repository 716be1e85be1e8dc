"""`manifold verify`: the proof that every item is accounted for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from manifold import config
from manifold.cli import out, shapes
from manifold.cli.context import find, opened_ledger, opened_store
from manifold.cli.exits import FAILED
from manifold.cli.params import AsJson
from manifold.errors import ManifoldError, WireError
from manifold.protocol import envelope, outcome, proof
from manifold.protocol.codec import FailedItem
from manifold.protocol.records import ChunkRow, ScatterRow
from manifold.text import counted

if TYPE_CHECKING:
    from manifold.ledger import Ledger
    from manifold.ledger.verify import Violation

_NAMED = 5  # items of a chunk whose positions are shown


def verify(
    scatter_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="Which scatter, as for `show`; all of them without it.", show_default=False
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every blob too: it is there, signed, whole, in its place, and loads.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that every item is accounted for, and nothing twice.

    The rules are those of docs/concepts.md: committed chunks are disjoint (I1), those of a succeeded scatter cover its
    input (I2), the counters are their sums (I3), re-runs touch only what had failed (I4), and so on. It only reads, and
    may run beside a coordinator. Exit code 1 if anything is wrong.
    """
    from manifold.ledger.verify import verify as broken_rules

    with opened_ledger() as ledger:
        row = find(ledger, scatter_id) if scatter_id else None
        uid = row.uid if row else None
        uids = [uid] if uid else _all(ledger)
        account = f"every item of {counted(len(uids), 'scatter')} is accounted for" if row is None else _account(row)
        violations = broken_rules(ledger, uid)
        if deep:
            for one in uids:
                violations += _broken_blobs(ledger, one)
    found = shapes.Verified(
        ok=not violations,
        deep=deep,
        scatters=len(uids),
        violations=[shapes.Breach(invariant=one.invariant, scatter=one.uid, text=one.text) for one in violations],
    )
    if as_json:
        out.say_json(found)
    elif found.ok:
        out.say(f"{account}, as {'ledger and store prove' if deep else 'the ledger proves'}")
    else:
        table = out.table("rule", "scatter", "violated")
        for breach in found.violations:
            table.add_row(breach.invariant, breach.scatter, breach.text)
        out.say(table)
    if not found.ok:
        raise typer.Exit(FAILED)


def _account(row: ScatterRow) -> str:
    left = "some" if row.total is None else f"{row.total - row.done:,}"
    return (
        f"every item of {row.title} is accounted for: {row.n_ok:,} succeeded, {row.n_failed:,} failed, "
        f"{row.n_skipped:,} skipped, {left} without outcome"
    )


def _all(ledger: Ledger) -> list[str]:
    uids, before = [], None
    while rows := ledger.scatters(before=before):
        uids += [row.uid for row in rows]
        before = rows[-1]
    return uids


def _broken_blobs(ledger: Ledger, uid: str) -> list[Violation]:
    from manifold.ledger.verify import verify_blobs
    from manifold.stores.marker import check_marker

    row = ledger.scatter(uid)
    with closing(opened_store(row)) as store:
        check_marker(store, row.store_uuid)
        return verify_blobs(ledger, uid, store, _complaint(config.keyring(), row.reduce_digest is not None))


def _complaint(keyring: envelope.Keyring, folded: bool) -> Callable[[ChunkRow, str, bytes], str | None]:
    """Looks into a blob: its signature, its place, and how many items it holds."""
    from manifold.protocol import codec

    def complaint(row: ChunkRow, key: str, data: bytes) -> str | None:
        kind: envelope.Kind = "failed" if key == row.fail_key else "result"
        place = {"uid": row.uid, "layer": row.layer, "start": row.start, "attempt": row.attempt}
        try:
            _, payload = envelope.unseal(keyring, data, kind, **place)
            if kind == "failed":
                return _complaint_of_failed(row, codec.decode_failed(payload))
            try:
                held = len(codec.decode_segments(payload) if folded else codec.decode_values(payload))
            except proof.BROKEN as exc:
                return str(exc) if isinstance(exc, WireError) else _unreadable(row, payload, exc, folded=folded)
        except ManifoldError as exc:
            return str(exc)
        # How many items a fold is made of, it does not say.
        return None if folded or held == row.n_ok else _miscounted(held, row.n_ok)

    return complaint


def _complaint_of_failed(row: ChunkRow, held: list[FailedItem]) -> str | None:
    for one in held:
        try:
            _ = one.item is not None and envelope.loads(one.item)
        except proof.BROKEN as exc:
            return f"failed item {one.failure.pos:,} cannot be unpickled here: {type(exc).__name__}: {exc}"
    return None if len(held) == row.n_failed else _miscounted(len(held), row.n_failed)


def _miscounted(held: int, counted: int) -> str:
    return f"it holds {held:,} items, and the ledger counts {counted:,}"


def _unreadable(row: ChunkRow, payload: bytes, exc: BaseException, *, folded: bool) -> str:
    """Which items' results are signed and whole, and cannot be unpickled here."""
    from manifold.protocol.salvage import Unreadable, load_items

    broken = [(index, one.reason) for index, one in enumerate(load_items(payload)) if isinstance(one, Unreadable)]
    if not broken or folded:
        return f"it is signed, but cannot be unpickled here: {type(exc).__name__}: {exc}"
    places = list(outcome.positions(row.outcome, row.start, row.stop, outcome.OK))
    named = ", ".join(f"{places[index]:,}" for index, _ in broken[:_NAMED])
    more = f" and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
    return f"the results of items {named}{more} cannot be unpickled here: {broken[0][1]}"
