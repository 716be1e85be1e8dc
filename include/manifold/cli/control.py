"""`pause`, `resume`, `drain`, `cancel` and `set`: what a person wants of a running scatter."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from manifold import control_requests
from manifold.cli import out, shapes
from manifold.cli.context import find, opened_ledger, person
from manifold.cli.exits import Conflict
from manifold.cli.params import AsJson, ScatterId, named_values
from manifold.coordinator.controls import SETTINGS
from manifold.protocol.records import TERMINAL


def pause(scatter_id: ScatterId, as_json: AsJson = False) -> None:
    """Send no further chunk until `resume`. Chunks that run now end; the pause outlives a retry."""
    _ask(scatter_id, "pause", {}, as_json)


def resume(scatter_id: ScatterId, as_json: AsJson = False) -> None:
    """Go on after a pause or a drain."""
    _ask(scatter_id, "resume", {}, as_json)


def drain(scatter_id: ScatterId, as_json: AsJson = False) -> None:
    """Let what runs end, commit it, and stop there.

    A drained scatter waits: `resume` lets it continue. Its Airflow task takes no slot and no try meanwhile, and is
    shown as up for reschedule. A scatter that has no coordinator is left as it is.
    """
    _ask(scatter_id, "drain", {}, as_json)


def cancel(scatter_id: ScatterId, as_json: AsJson = False) -> None:
    """End the scatter now. What is committed stays.

    Where no coordinator is alive, it is ended here. An Airflow task that is to be retried continues it all the same:
    mark that task as failed in Airflow.
    """
    _ask(scatter_id, "cancel", {}, as_json)


def set_(
    scatter_id: ScatterId,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE...", help=f"Of {', '.join(SETTINGS)}; VALUE none lifts a limit."),
    ],
    as_json: AsJson = False,
) -> None:
    """Change options while it runs. They outlive a retry."""
    changes = dict(named_values(settings))
    control_requests.check_settings(changes)  # what makes no sense is refused before anything is written
    _ask(scatter_id, "set", changes, as_json)


def _ask(scatter_id: str, verb: str, value: dict[str, Any], as_json: bool) -> None:
    with opened_ledger() as ledger:
        row = find(ledger, scatter_id)
        if row.state in TERMINAL:
            raise Conflict(f"scatter {row.title} has ended ({row.state}); there is nothing to {verb}")
        asked = control_requests.ask(ledger, row, verb, value, person())
    if as_json:
        told: dict[str, Any] = {"verb": verb, "value": value, "coordinator": asked.coordinator, "done": asked.done}
        out.say_json(shapes.Asked(scatter=row.uid, name=row.name, **told))
    else:
        out.say(asked.sentence())
