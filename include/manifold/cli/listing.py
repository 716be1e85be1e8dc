"""`manifold ls`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from manifold.cli import out, shapes
from manifold.cli.context import opened_ledger
from manifold.cli.params import AsJson
from manifold.names import shown_name
from manifold.protocol.records import ScatterRow
from manifold.text import duration, on_one_line

if TYPE_CHECKING:
    from manifold.ledger import Ledger
    from manifold.ledger.states import Condition


_WHY = 80  # characters; `show` has all of it


class State(StrEnum):
    """The states of a scatter, as `manifold.ledger.states` derives them."""

    running = "running"
    paused = "paused"
    draining = "draining"
    drained = "drained"
    stopped = "stopped"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"
    replaced = "replaced"


def ls(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Only those with this in their name, as it is shown here or percent-encoded.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="Those of the deployment itself too, such as checks of its health.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the scatters of the ledger, the newest first.

    Those that a fresh start replaced, or that gc removed, are listed by --state replaced alone.
    """
    from manifold.cli.runs import of_deleted_runs

    with opened_ledger() as ledger:
        rows = list(islice(_rows(ledger, state, name, system=everything), limit))
        now = ledger.time()
        states = ledger.states(row.uid for row in rows)
        deleted = of_deleted_runs(ledger, rows)
        where = ledger.url
        hidden = not rows and not everything and next(_rows(ledger, state, name, system=True), None) is not None
    found = shapes.Listing(
        scatters=[
            shapes.Scatter(**shapes.scatter_fields(row, now, states[row.uid], run_deleted=row.uid in deleted))
            for row in rows
        ]
    )
    if as_json:
        out.say_json(found)
    elif not found.scatters:
        out.say(_nothing(where, chosen=bool(state or name), system=hidden))
    else:
        table = out.table(
            "name", "state", "done", "items", "failed", "begun", "uid", "because", right=("done", "items", "failed")
        )
        for one in found.scatters:
            done = out.done(one) or "?"
            begun = f"{duration(now - one.created_at)} ago"
            failed = out.count(one.failed) if one.failed else ""
            shown = out.state(one.state)
            table.add_row(shown_name(one.name), shown, done, out.total(one), failed, begun, one.scatter[:8], _why(one))
        out.say(table)


def _nothing(where: str, *, chosen: bool, system: bool) -> str:
    if system:
        return f"the ledger {where} has such scatters of the deployment itself alone; --all lists them"
    return f"the ledger {where} has no such scatter" if chosen else f"the ledger {where} is empty"


def _why(one: shapes.Scatter) -> str:
    """Why it is as it is, on one line."""
    text = on_one_line(one.message or "")
    return text if len(text) <= _WHY else f"{text[: _WHY - 1]}…"


def _rows(ledger: Ledger, state: State | None, name: str | None, *, system: bool) -> Iterator[ScatterRow]:
    before = None
    of: Condition | None = state.value if state else None
    while page := ledger.scatters(state=of, name_like=name, before=before, system=system):
        yield from (row for row in page if state or row.state != "replaced")
        before = page[-1]
