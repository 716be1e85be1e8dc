"""`manifold failed`: the quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from manifold import config, views
from manifold.cli import out, shapes
from manifold.cli.context import find, opened_ledger, opened_store
from manifold.cli.params import AsJson, OnlyError, ScatterId, chosen_kinds
from manifold.protocol.records import ScatterRow
from manifold.text import counted

if TYPE_CHECKING:
    from manifold.ledger import FailureRow, Ledger
    from manifold.results.failures import ItemFailure


def failed(
    scatter_id: ScatterId,
    only_error: OnlyError = None,
    limit: Annotated[int, typer.Option(min=0, help="How many to list, by position.")] = 50,
    export: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.jsonl", help="Write all of them, with the item itself and the traceback, a line of JSON each."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the items that are failed now, and why."""
    with opened_ledger() as ledger:
        row = find(ledger, scatter_id)
        kinds = ledger.kinds(row.uid)
        chosen = {kind.fingerprint for kind in kinds}
        if only_error is not None:
            chosen = chosen_kinds([(kind.fingerprint, kind.type) for kind in kinds], only_error)
        number = sum(kind.count for kind in kinds if kind.fingerprint in chosen)
        listed = [views.failed_item(one) for one in islice(failure_rows(ledger, row.uid, chosen), limit)]
        exported = _export(ledger, row, chosen, export) if export else None
    found = shapes.FailedItems(scatter=row.uid, failed=number, items=listed, exported=exported)
    if as_json:
        out.say_json(found)
    else:
        _tell(found, row, export)


def failure_rows(ledger: Ledger, uid: str, fingerprints: set[str]) -> Iterator[FailureRow]:
    """The failed items of these kinds, by position, a page in memory at a time."""
    after = -1
    while page := ledger.failures(uid, after=after):
        yield from (one for one in page if one.fingerprint in fingerprints)
        after = page[-1].pos


def _tell(found: shapes.FailedItems, row: ScatterRow, export: str | None) -> None:
    if not found.failed:
        out.say(f"{row.title} has no failed items")
        return
    table = out.table("position", "error", "message", "tries", "item", "worker", right=("position", "tries"))
    for one in found.items:
        item = one.key or one.item or ""
        table.add_row(out.count(one.position), one.type, one.message, str(one.attempts), item, one.worker)
    if found.items:
        out.say(table)
    if found.failed > len(found.items):
        number = f"{len(found.items):,} of {counted(found.failed, 'failed item')}"
        out.say(f"{number}; --limit lists more, --export writes all")
    if export:
        out.say(f"written to {export}: {counted(found.exported or 0, 'failed item')}")
    out.note(f"run them again: manifold redrive {row.uid}")


def _export(ledger: Ledger, row: ScatterRow, chosen: set[str], path: str) -> int:
    from manifold.results.blobs import Blobs
    from manifold.results.failures import failures
    from manifold.writers.jsonl import to_jsonl

    with closing(opened_store(row)) as store:
        blobs = Blobs(ledger, store, config.keyring(), row)
        found = (one for one in failures(ledger, blobs, row.uid) if one.fingerprint in chosen)
        return to_jsonl((_exported(one) for one in found), path)


def _exported(one: ItemFailure) -> dict[str, Any]:
    return msgspec.to_builtins(views.exported(one, _value(one), one.traceback))  # type: ignore[no-any-return]


def _value(one: ItemFailure) -> Any:
    """The item, as far as JSON can say it; its repr stands beside it."""
    try:
        return views.plain(one.item)
    except Exception:  # noqa: BLE001 - unpickling runs a user's code, and much is not JSON
        return None
