"""`manifold workers`: those of an engine, and which of them get chunks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from manifold import config
from manifold.cli import out, shapes
from manifold.cli.engines import done_by, wait_for_processes
from manifold.cli.params import AsJson
from manifold.errors import ConfigError
from manifold.redaction import masked

if TYPE_CHECKING:
    from manifold.abc import Engine
    from manifold.engines._remote.engine import RemoteEngine
    from manifold.protocol.records import WorkerInfo

_TOLD = 3.0  # seconds for a worker to say that it was told

Names = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="A host, a worker's name, or the beginning of what is unique in it. Several times."
    ),
]


def workers(
    url: Annotated[str, typer.Argument(metavar="URL", help="The engine's URL, or a connection id.")],
    exclude: Names = None,
    include: Names = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long an excluded worker takes no chunks.")] = 3600.0,
    as_json: AsJson = False,
) -> None:
    """List the workers of an engine, and have some take no chunks for a while.

    An excluded worker ends what it runs, and takes nothing new from any coordinator, until the time is over or it is
    included again. Only workers that `manifold worker` has started can be told so.
    """
    from manifold.engines.open import open_engine

    with open_engine(config.resolve(url)) as engine:
        trouble = engine.check()
        wait_for_processes(engine)
        for names, rest in ((exclude, seconds), (include, 0.0)):
            for name in names or ():
                _tell(_remote(engine, url), name, rest)
        found = shapes.EngineWorkers(
            url=masked(config.resolve(url)), trouble=trouble, workers=_with_work(map(_shape, engine.workers()))
        )
    if as_json:
        out.say_json(found)
        return
    columns = ("worker", "host", "pid", "chunks held", "chunks", "items", "silent", "takes chunks")
    table = out.table(*columns, right=("pid", "chunks held", "chunks", "items"))
    for one in found.workers:
        takes = f"no: {one.trouble}" if one.trouble else "yes"
        done = ["?" if count is None else f"{count:,}" for count in (one.chunks, one.items)]
        held, silent = str(one.chunks_held), f"{one.seconds_silent:.0f} s"
        table.add_row(one.node or one.worker, one.host, str(one.pid), held, *done, silent, takes)
    out.say(table)
    if trouble:
        out.note(trouble)


def _with_work(workers: Iterable[shapes.EngineWorker]) -> list[shapes.EngineWorker]:
    """Fill in what each has done."""
    found = list(workers)
    if (done := done_by(one.worker for one in found)) is not None:
        for one in found:
            one.chunks, one.items = done.get(one.worker, (0, 0))
    return found


def _tell(engine: RemoteEngine, name: str, seconds: float) -> None:
    nodes = engine.rest(name, seconds)
    if not nodes:
        raise ConfigError(f"no worker there is named {name!r}; `manifold workers URL` lists them")
    until = time.monotonic() + _TOLD
    while time.monotonic() < until and not all(
        bool(one.trouble) == (seconds > 0) for one in engine.workers() if one.node in nodes
    ):
        time.sleep(0.05)
    for node in nodes:
        out.note(f"{node} takes no chunks for {seconds:g} s" if seconds else f"{node} takes chunks again")


def _remote(engine: Engine, url: str) -> RemoteEngine:
    from manifold.engines._remote.engine import RemoteEngine

    if not isinstance(engine, RemoteEngine):
        raise ConfigError(f"the workers of {masked(url)} cannot be told to rest; stop them by their own means")
    return engine


def _shape(worker: WorkerInfo) -> shapes.EngineWorker:
    return shapes.EngineWorker(
        worker=worker.name,
        node=worker.node,
        host=worker.host,
        pid=worker.pid,
        seconds_silent=worker.silence,
        chunks_held=len(worker.holding),
        items_done=worker.done,
        alive=worker.alive,
        trouble=worker.trouble or None,
    )
