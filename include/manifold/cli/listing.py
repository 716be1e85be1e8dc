"""`manifold ls`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from manifold.cli import out, shapes
from manifold.cli.here import opened_ledger
from manifold.cli.params import AsJson
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from manifold.ledger import Ledger


class State(StrEnum):
    """The states of a scatter."""

    running = "running"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"
    replaced = "replaced"


def ls(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    name: Annotated[str | None, typer.Option(help="Only those with this in their name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the scatters of the ledger, the newest first.

    Those that a fresh start replaced, or that gc removed, are listed by --state replaced alone.
    """
    with opened_ledger() as ledger:
        rows = list(islice(_rows(ledger, state, name), limit))
        now = ledger.time()
        where = ledger.url
    found = shapes.Listing(scatters=[shapes.Scatter(**shapes.scatter_fields(row, now)) for row in rows])
    if as_json:
        out.say_json(found)
    elif not found.scatters:
        out.say(f"the ledger {where} has no such scatter" if state or name else f"the ledger {where} is empty")
    else:
        table = out.table("name", "state", "done", "items", "failed", "begun", "uid", right=("done", "items", "failed"))
        for one in found.scatters:
            done = "?" if one.percent is None else f"{one.percent:g} %"
            begun = f"{out.duration(now - one.created_at)} ago"
            failed = out.count(one.failed) if one.failed else ""
            shown = out.state(one.state)
            if one.state == "running" and one.coordinator is None:
                shown.append(", by nobody now")
            table.add_row(one.name, shown, done, out.count(one.total), failed, begun, one.scatter[:8])
        out.say(table)


def _rows(ledger: Ledger, state: State | None, name: str | None) -> Iterator[ScatterRow]:
    before = None
    while page := ledger.scatters(state=state.value if state else None, name_like=name, before=before):
        yield from (row for row in page if state or row.state != "replaced")
        before = page[-1]
