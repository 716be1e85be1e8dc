"""`manifold run`: scatter a function over items, here and now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

import manifold
from manifold import config, events
from manifold.abc import Monitor
from manifold.cli import out, shapes
from manifold.cli.context import opened_ledger
from manifold.cli.params import ITEMS_HELP, AsJson, function_of, items_of, options_of
from manifold.errors import ConfigError, EmptyReduce, ScatterError
from manifold.registry import FORMATS
from manifold.text import counted, duration, either

if TYPE_CHECKING:
    from manifold.adapter import Adapter
    from manifold.ledger import Ledger
    from manifold.results.results import Results

_WRITTEN = either(f".{end}" for row in FORMATS.entries.values() for end in row.written)


def run(
    function: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="Called with each item.", show_default=False)
    ],
    items: Annotated[str, typer.Option(metavar="ITEMS", help=ITEMS_HELP, show_default=False)],
    engine: Annotated[
        str, typer.Option(metavar="URL", help="Where it runs: a URL (see `manifold engines --help`) or connection id.")
    ] = "processes://",
    store: Annotated[str | None, typer.Option(metavar="URL", help="Where results rest.", show_default=False)] = None,
    ledger: Annotated[str | None, typer.Option(metavar="URL", help="Which ledger.", show_default=False)] = None,
    scatter_id: Annotated[
        str | None,
        typer.Option("--id", metavar="NAME", help="A name to continue under: again, it runs only what is missing."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what is there under --id, and run everything.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of docs/options.md, such as item_retries=2 or tolerate=1%. May be given several times.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE", help=f"Write the results to it: {_WRITTEN}."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Call a function for every item, and keep account of each.

    A module in the working folder travels to the workers with the function. Exit code 1 if more items fail than
    `tolerate` allows; `manifold failed NAME` shows them.
    """
    from manifold.protocol.by_value import by_value

    if output is not None:
        _check_output(output)
    called = function_of(function)
    source, options = items_of(items), options_of(option or ())
    name = scatter_id or f"{function.rpartition(':')[2]}-{uuid4().hex[:12]}"
    began = time.monotonic()
    with opened_ledger(config.resolve(ledger) if ledger else None) as book:
        try:
            # Modules of the working folder are not on the workers' path, so they travel.
            with by_value(["."]):
                results = _scatter(called, source, engine, store, book, name, fresh, options)
        except ScatterError:
            if (row := book.find(name)) is not None:
                tell_ran(ran_shape(book, row.uid, None, time.monotonic() - began), as_json)
            raise
        except KeyboardInterrupt:
            out.note(f"what is committed stays; the same command with --id {name} continues with the rest")
            raise
        tell_ran(ran_shape(book, results.uid, results, time.monotonic() - began, output), as_json)


def monitors() -> Sequence[Monitor]:
    """A progress bar on a terminal; elsewhere the warnings alone, on stderr."""
    from manifold.monitors import progress

    return progress.default() or [Warnings()]


class Warnings(Monitor):
    """Says what a person should know even where no progress bar is shown."""

    warns = True

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.ScatterStarted):
            for text in event.warnings:
                out.note(f"warning: {text}")
        if isinstance(event, events.Notice) and event.level == "warning":
            out.note(f"warning: {event.text}")


def tell_ran(ran: shapes.Ran, as_json: bool) -> None:
    """The account of a scatter that this command has run."""
    if as_json:
        out.say_json(ran)
        return
    table = out.table("items", "succeeded", "failed", "skipped", "without outcome", "took")
    numbers = (ran.total, ran.succeeded, ran.failed, ran.skipped, ran.without_outcome)
    table.add_row(*(out.count(number) for number in numbers), duration(ran.seconds))
    out.say(f"{ran.name} ({ran.scatter}): {ran.state}", table)
    for kind in ran.errors[:5]:
        out.say(f"{kind.count:,} failed by {kind.type}: {kind.message}")
    if ran.value is not None:
        out.say(f"value: {ran.value!r}")
    if ran.out is not None:
        out.say(f"written to {ran.out}: {counted(ran.written or 0, 'result')}")


def _scatter(
    called: Any,
    source: Any,
    engine: str,
    store: str | None,
    book: Ledger,
    name: str,
    fresh: bool,
    options: dict[str, Any],
) -> Results:
    return manifold.scatter(  # type: ignore[no-any-return]
        called,
        source,
        engine=engine,
        store=config.resolve(store) if store else None,
        ledger=book,
        scatter_id=name,
        fresh=fresh,
        monitors=monitors(),
        **options,
    )


def ran_shape(book: Ledger, uid: str, results: Results | None, seconds: float, output: str | None = None) -> shapes.Ran:
    """The account of a scatter, its folded value where it has one, and its results written to `output`."""
    row = book.scatter(uid)
    folded = row.reduce_digest is not None
    written = _write(results, output) if results is not None and output else None
    return shapes.Ran(
        **shapes.scatter_fields(row, book.time(), book.state(uid)),
        errors=shapes.error_kinds(book.kinds(uid)),
        seconds=seconds,
        value=_value(results) if results is not None and folded else None,
        out=output if written is not None else None,
        written=written,
    )


def _check_output(output: str) -> None:
    """What cannot be written is said before anything runs."""
    from manifold.writers._atomic import check_target

    if _writer(output) is None:
        raise ConfigError(f"--out {output}: its name must end in {_WRITTEN}")
    check_target(output)


def _write(results: Results, output: str) -> int:
    row = _writer(output)
    assert row is not None
    number: int = row.load(row.writer)(results, output)
    return number


def _writer(output: str) -> Adapter | None:
    """The format that the name of a file asks for."""
    return next((row for row in FORMATS.rows() if output.endswith(tuple(f".{end}" for end in row.written))), None)


def _value(results: Results) -> Any:
    try:
        return results.value()
    except EmptyReduce:
        return None
