"""`manifold redrive`: failed items again, and results that are gone."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifold import config
from manifold.cli import out
from manifold.cli.again import Options, run_again, takes_options
from manifold.cli.context import find, opened_ledger, opened_store
from manifold.cli.params import OnlyError, ScatterId, chosen_kinds
from manifold.errors import ConfigError, ResultsLost
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from manifold.ledger import Ledger


@takes_options
def redrive(
    scatter_id: ScatterId,
    only_error: OnlyError = None,
    lost: Annotated[
        bool, typer.Option("--lost", help="Instead: look through the store, and make results again that are gone.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Run failed items again, and only those: what never ran is left to `continue`.

    A scatter of plain Python runs here: the items come from the quarantine, the code from the store.

    A scatter of an Airflow task is left to Airflow: the request is written into the ledger, then the task and what
    follows it are cleared through Airflow's API, with the rights of AIRFLOW_API_TOKEN, or of AIRFLOW_API_USER and
    AIRFLOW_API_PASSWORD. Its next try runs only what was asked for.
    """
    if lost and only_error is not None:
        raise ConfigError("--lost and --only-error are two requests; make one after the other")
    with opened_ledger() as ledger:
        row = find(ledger, scatter_id)
        closed = row.total is not None and row.done == row.total
        if lost and not closed:
            raise ConfigError(
                f"{row.title} has items that never ran, and --lost runs none: `manifold continue {row.uid}` runs them, "
                "and makes lost results again"
            )
        chosen = _chosen(ledger, row, only_error, lost)
        chunks = _lost(ledger, row) if lost else len(ledger.suspects(row.uid)) if closed else 0
        run_again(ledger, row, "failed", chosen, _count(ledger, row, chosen), 0, chunks, options)


def _chosen(ledger: Ledger, row: ScatterRow, only_error: str | None, lost: bool) -> dict[str, Any]:
    """Return the request as the ledger has it and `coordinator.redrive.chooser` reads it: {} means all failed items."""
    from manifold.ledger.withdraw import WITHDRAWN

    if only_error is not None:
        kinds = [(kind.fingerprint, kind.type) for kind in ledger.kinds(row.uid)]
        return {"fingerprints": sorted(chosen_kinds(kinds, only_error))}
    return {"fingerprints": [WITHDRAWN]} if lost else {}


def _count(ledger: Ledger, row: ScatterRow, chosen: dict[str, Any]) -> int:
    marks = chosen.get("fingerprints")
    return sum(kind.count for kind in ledger.kinds(row.uid) if marks is None or kind.fingerprint in marks)


def _lost(ledger: Ledger, row: ScatterRow) -> int:
    """How many chunks cannot be read back. Each is recorded in the ledger, as by any reader."""
    from manifold.results.blobs import Blobs

    with closing(opened_store(row)) as store:
        blobs = Blobs(ledger, store, config.keyring(), row)
        for merged in ledger.merged(row.uid):
            for chunk in (merged.base, *merged.overlays):
                try:
                    _ = blobs.segments(chunk) if row.reduce_digest else blobs.values(chunk)
                    blobs.failed(chunk)
                except ResultsLost as exc:
                    out.note(str(exc))
    return len(ledger.suspects(row.uid))
