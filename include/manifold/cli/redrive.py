"""`manifold redrive`: failed items again, and results that are gone."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifold import settings, steering
from manifold.cli import out, redrive_airflow, redrive_here, shapes
from manifold.cli.exits import Conflict
from manifold.cli.here import find, opened_ledger, opened_store, task_of
from manifold.cli.params import AsJson, DryRun, OnlyError, ScatterId, chosen_kinds
from manifold.cli.run import tell_ran
from manifold.errors import ConfigError, ResultsLost, ScatterError
from manifold.protocol.records import ScatterRow
from manifold.words import counted

if TYPE_CHECKING:
    from manifold.ledger import Ledger


def redrive(
    scatter_id: ScatterId,
    only_error: OnlyError = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Instead: look through the store, and make results again that are gone.")
    ] = False,
    dry_run: DryRun = False,
    function: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Run this instead of the code that failed.", show_default=False),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            metavar="ITEMS",
            help="The input, as for `run`; needed only for items that never ran or whose results are lost.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="URL", help="Another engine than before.", show_default=False)
    ] = None,
    api_url: Annotated[
        str | None,
        typer.Option(
            envvar="AIRFLOW_API_URL",
            metavar="URL",
            help="Airflow's API; without it [api] base_url.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run failed items again, and only those.

    A scatter of plain Python runs here: the items come from the quarantine, the code from the store.

    A scatter of an Airflow task is left to Airflow: the wish is written into the ledger, then the task and what follows
    it are cleared through Airflow's API, with the rights of AIRFLOW_API_TOKEN, or of AIRFLOW_API_USER and
    AIRFLOW_API_PASSWORD. Its next try runs only what was asked for.
    """
    if lost and only_error is not None:
        raise ConfigError("--lost and --only-error are two wishes; say one after the other")
    with opened_ledger() as ledger:
        row = find(ledger, scatter_id)
        task = task_of(ledger, row)
        if task:
            _refuse_own(row, {"--function": function, "--items": items, "--engine": engine})
        chosen = _chosen(ledger, row, only_error, lost)
        done = shapes.Redriven(
            scatter=row.uid,
            name=row.name,
            where="airflow" if task else "here",
            dry_run=dry_run,
            items=_count(ledger, row, chosen),
            chunks_lost=_lost(ledger, row) if lost else len(ledger.suspects(row.uid)),
            cleared=[],
            result=None,
        )
        if (done.items or done.chunks_lost) and not dry_run:
            _refuse_busy(ledger, row)
            try:
                if task:
                    done.cleared = redrive_airflow.redrive(ledger, row, task, chosen, api_url)
                else:
                    done.result = redrive_here.redrive(ledger, row, chosen, function, items, engine)
            except ScatterError:
                done.result = redrive_here.account(ledger, row.uid)
                _tell(done, as_json)
                raise
    _tell(done, as_json)


def _refuse_own(row: ScatterRow, options: dict[str, str | None]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"{row.name} is the scatter of an Airflow task, whose next try takes function, items and engine from its "
            f"DAG: leave out {' and '.join(given)}"
        )


def _chosen(ledger: Ledger, row: ScatterRow, only_error: str | None, lost: bool) -> dict[str, Any]:
    """The wish, as the ledger keeps it and `coordinator.redrive.chooser` reads it: {} means all failed items."""
    from manifold.ledger.withdraw import WITHDRAWN

    if only_error is not None:
        kinds = [(kind.fingerprint, kind.type) for kind in ledger.kinds(row.uid)]
        return {"fingerprints": sorted(chosen_kinds(kinds, only_error))}
    return {"fingerprints": [WITHDRAWN]} if lost else {}


def _count(ledger: Ledger, row: ScatterRow, chosen: dict[str, Any]) -> int:
    marks = chosen.get("fingerprints")
    return sum(kind.count for kind in ledger.kinds(row.uid) if marks is None or kind.fingerprint in marks)


def _lost(ledger: Ledger, row: ScatterRow) -> int:
    """How many chunks cannot be read back. The ledger is told of each, as by any reader."""
    from manifold.results.blobs import Blobs

    with closing(opened_store(row)) as store:
        blobs = Blobs(ledger, store, settings.keyring(), row)
        for merged in ledger.merged(row.uid):
            for chunk in (merged.base, *merged.overlays):
                try:
                    _ = blobs.segments(chunk) if row.reduce_digest else blobs.values(chunk)
                    blobs.failed(chunk)
                except ResultsLost as exc:
                    out.note(str(exc))
    return len(ledger.suspects(row.uid))


def _refuse_busy(ledger: Ledger, row: ScatterRow) -> None:
    if by := steering.coordinator(row, ledger.time()):
        raise Conflict(f"{row.name} is being run by {by}; wait for its end (manifold watch {row.uid})")


def _tell(done: shapes.Redriven, as_json: bool) -> None:
    if as_json:
        out.say_json(done)
        return
    lost = f" and {counted(done.chunks_lost, 'lost chunk')}" if done.chunks_lost else ""
    what = f"{counted(done.items, 'failed item')}{lost}"
    if not (done.items or done.chunks_lost):
        out.say(f"{done.name}: there is nothing to run again")
    elif done.dry_run:
        out.say(f"{done.name}: would run again, {_place(done)}: {what}")
    elif done.result is not None:
        tell_ran(done.result, as_json=False)
    else:
        out.say(f"{done.name}: will run again: {what}; cleared: {', '.join(done.cleared)}")


def _place(done: shapes.Redriven) -> str:
    return "by Airflow, which the task is cleared for" if done.where == "airflow" else "here"
