"""`manifold gc`: what no committed chunk names, and scatters that nobody will ask for again."""

from __future__ import annotations

from typing import Annotated

import typer

from manifold.abc import Store
from manifold.cli import out, shapes
from manifold.cli.context import opened_ledger
from manifold.cli.params import AsJson, DryRun, seconds_of
from manifold.errors import ConfigError, StoreError
from manifold.names import shown_name
from manifold.protocol.records import ScatterRow
from manifold.text import counted


def gc(
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Also remove scatters that ended, or had no coordinator, so long ago: 30d.",
            show_default=False,
        ),
    ] = None,
    deleted_runs: Annotated[
        bool,
        typer.Option(
            "--deleted-runs/--no-deleted-runs",
            help="Also remove scatters whose DAG run was deleted in Airflow, where Airflow can be asked.",
        ),
    ] = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Delete what is left over in the store, and old scatters.

    Left over is what lost copies of chunks wrote. Whole scatters and their results go where their DAG run was deleted
    in Airflow, and with --older-than. Airflow is asked by its API, if AIRFLOW_API_URL and a login are set, or else in
    its database, if it is configured here. Safe beside running scatters. A scatter whose store cannot be used from here
    is left as it is.
    """
    from manifold.cli.runs import of_deleted_runs
    from manifold.ledger.compaction import compact
    from manifold.ledger.gc import of_idle_tasks, sweep

    age = None if older_than is None else seconds_of(older_than)
    skipped: list[shapes.Skipped] = []

    def skip(row: ScatterRow, exc: StoreError) -> None:
        skipped.append(shapes.Skipped(scatter=row.uid, name=row.name, why=str(exc)))

    with opened_ledger() as ledger:
        idle = of_idle_tasks(ledger) if deleted_runs else []
        deleted = of_deleted_runs(ledger, idle, thorough=True)
        also = [row for row in idle if row.uid in deleted]
        gone = sweep(ledger, _checked_store, older_than=age, also=also, dry_run=dry_run, skip=skip)
        if not dry_run:
            compact(ledger.database.engine)
    collected = [
        shapes.Gone(
            scatter=one.uid,
            name=one.name,
            blobs=len(one.keys),
            whole=one.retired,
            run_deleted=one.uid in deleted,
        )
        for one in gone
    ]
    swept = shapes.Swept(dry_run=dry_run, collected=collected, skipped=skipped)
    if as_json:
        out.say_json(swept)
    else:
        _tell(swept)


def _checked_store(row: ScatterRow) -> Store:
    """The scatter's own store, and surely that one: its results go with its rows, or neither goes."""
    from manifold.registry import scheme_of
    from manifold.stores import store_behind
    from manifold.stores.marker import check_marker
    from manifold.stores.memory import MemoryStore

    if row.store_url and scheme_of(row.store_url) == "memory":
        return MemoryStore()  # it ended with its process
    try:
        store = store_behind(row.store_url)
    except ConfigError as exc:
        raise StoreError(str(exc)) from exc  # no reason to leave the others as they are, too
    try:
        check_marker(store, row.store_uuid)
    except BaseException:
        store.close()
        raise
    return store


def _what(gone: shapes.Gone) -> str:
    if gone.run_deleted:
        return "all of it: its DAG run was deleted"
    return "all of it" if gone.whole else "left over"


def _tell(swept: shapes.Swept) -> None:
    if swept.collected:
        table = out.table("scatter", "blobs", "what", "uid", right=("blobs",))
        for one in swept.collected:
            table.add_row(shown_name(one.name), out.count(one.blobs), _what(one), one.scatter)
        out.say(table)
    blobs = sum(one.blobs for one in swept.collected)
    of = f"{counted(blobs, 'blob')} of {counted(len(swept.collected), 'scatter')}"
    out.say(f"would be deleted: {of}" if swept.dry_run else f"deleted: {of}")
    for left in swept.skipped:
        out.note(f"left as it is: {left.name} ({left.scatter}): {left.why}")
