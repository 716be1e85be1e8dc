"""`manifold engines`: where chunks could run, as seen from here."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from manifold import config
from manifold.cli import out, shapes
from manifold.cli.context import in_airflow, opened_ledger
from manifold.cli.exits import UNREACHABLE
from manifold.cli.params import AsJson
from manifold.errors import ManifoldError
from manifold.redaction import masked
from manifold.registry import ENGINES

if TYPE_CHECKING:
    from manifold.abc import Engine

_LATEST = 50  # scatters whose engines count as known
_STARTING = 5.0  # seconds for processes to come up


class EnginesCommand(TyperCommand):
    """A command whose help ends with the engines that there are, other packages' included."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Engines"):
            formatter.write_dl([(row.example, row.says) for row in ENGINES.rows()])
        super().format_epilog(ctx, formatter)


def engines(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL]...",
            help="URLs or connection ids; without any, those that are known here.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List engines: reachable or not, their slots and workers.

    Known are the default engine and the connections of Airflow's environment, and the engines of the ledger's latest
    scatters. Exit code 4 if one of them cannot be used.
    """
    found = shapes.Engines(engines=[look_at(name) for name in dict.fromkeys(names or known())])
    _add_work([worker for engine in found.engines for worker in engine.workers])
    if as_json:
        out.say_json(found)
    else:
        table = out.table("engine", "reachable", "slots", "workers", "trouble", right=("slots", "workers"))
        for one in found.engines:
            shown = one.url if one.name == one.url else f"{one.name} ({one.url})"
            reachable = "yes" if one.reachable else "no"
            table.add_row(shown, reachable, str(one.slots), str(len(one.workers)), one.trouble or "")
        out.say(table)
    if not all(one.reachable and one.trouble is None for one in found.engines):
        raise typer.Exit(UNREACHABLE)


def _add_work(workers: list[shapes.Worker]) -> None:
    """Fill in what each has done, by the ledger."""
    done = done_by(one.worker for one in workers) if workers else None
    for one in workers:
        one.chunks, one.items = (done or {}).get(one.worker, (0, 0))


def known() -> list[str]:
    """The engines that this host has a reason to ask for; the default one first."""
    names = [default()]
    if in_airflow():
        from manifold.airflow.configuration import connections

        names += connections(ENGINES)
    try:
        with opened_ledger() as ledger:
            names += [row.engine for row in ledger.scatters(limit=_LATEST) if "://" in row.engine]
    except ManifoldError as exc:
        out.note(f"without the ledger's engines: {exc}")
    return list(dict.fromkeys(names))


def default() -> str:
    """The engine of scatters that name none."""
    if not in_airflow():
        return "processes://"
    from manifold.airflow.configuration import default_engine

    return default_engine()


def look_at(name: str) -> shapes.EngineView:
    """One engine, opened, asked and closed again."""
    from manifold.engines.open import open_engine

    view = shapes.EngineView(name=masked(name), url=masked(name), reachable=False, slots=0, workers=[], trouble=None)
    try:
        url = config.resolve(name)
        view.url = masked(url)
        engine = open_engine(url)
    except ManifoldError as exc:
        view.trouble = str(exc)
        return view
    try:
        view.reachable = True
        view.trouble = engine.check()  # waits until the workers have reported
        view.slots = engine.slots()
        wait_for_processes(engine)
        view.workers = _workers(engine)
    finally:
        engine.shutdown(wait=True, cancel_futures=True)
    return view


def wait_for_processes(engine: Engine) -> None:
    """Return once an engine that has slots has a worker process, too; after some seconds in any case."""
    until = time.monotonic() + _STARTING
    while engine.slots() and not any(info.alive for info in engine.workers()) and time.monotonic() < until:
        time.sleep(0.05)


def done_by(names: Iterable[str]) -> dict[str, tuple[int, int]] | None:
    """Return the chunks and items that were committed of each worker; None, with a note, without a ledger."""
    from manifold.ledger.speed import committed_by

    try:
        with opened_ledger() as ledger:
            return committed_by(ledger, names)
    except ManifoldError as exc:
        out.note(f"without what workers have done: {exc}")
        return None


def _workers(engine: Engine) -> list[shapes.Worker]:
    return [
        shapes.Worker(
            worker=one.name,
            host=one.host,
            pid=one.pid,
            seconds_silent=one.silence,
            chunks_held=len(one.holding),
            items=0,
            chunks=0,
        )
        for one in engine.workers()
        if one.alive
    ]
