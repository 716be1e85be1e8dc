"""How a command speaks: JSON or tables on stdout, everything else on stderr; figures as people read them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from typing import Any, TextIO

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from manifold import views
from manifold.cli import shapes
from manifold.redaction import mask
from manifold.text import visible

_answers: TextIO | None = None  # where JSON goes, while stdout is kept for it
_WIDE = 200  # columns where nobody looks on; a file has no edge
_COLOURS = {
    "running": "cyan",
    "succeeded": "green",
    "ok": "green",
    "failed": "red",
    "broken": "red",
    "cancelled": "yellow",
    "warning": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "drained": "yellow",
    "stopped": "yellow",
    "error": "red",
    "lost": "red",
    "replaced": "dim",
}


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, as they are now."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return _Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


class _Console(Console):
    """Shows text as it is: what an item's message would do to the terminal is seen instead."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


def say(*texts: Any) -> None:
    """A line (or a table) for people, on stdout. Text is shown as it is."""
    for text in texts:
        console().print(text, soft_wrap=isinstance(text, str))


def note(text: str) -> None:
    """A line beside the answer, on stderr."""
    console(stderr=True).print(mask(text), soft_wrap=True)


@contextmanager
def only_answers() -> Iterator[None]:
    """Within it stdout is for `say_json` alone. What anybody else writes there goes to stderr: Airflow's warnings, a
    function's print, a worker process."""
    global _answers
    is_real = sys.stdout is sys.__stdout__
    with _descriptor_one_kept() if is_real else _object_kept() as _answers:
        yield
    _answers = None


@contextmanager
def _descriptor_one_kept() -> Iterator[TextIO]:
    # A logger may hold the stream, and a worker process inherits the descriptor: so that is what changes.
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as kept:
        os.dup2(2, 1)
        try:
            yield kept
        finally:
            sys.stdout.flush()
            os.dup2(kept.fileno(), 1)


@contextmanager
def _object_kept() -> Iterator[TextIO]:
    kept = sys.stdout
    with redirect_stdout(sys.stderr):
        yield kept


def say_json(shape: msgspec.Struct, *, indent: int | None = 2) -> None:
    """One of `manifold.cli.shapes`, on stdout. A result that JSON does not have stands as its repr, NaN as null."""
    print(json.dumps(_plain(shape), indent=indent), file=_answers or sys.stdout, flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    try:
        return views.plain(msgspec.to_builtins(value, enc_hook=repr))
    except (TypeError, ValueError):
        return repr(value)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `right` hold numbers."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def state(name: str) -> Text:
    """A state in its colour."""
    return Text(name, style=_COLOURS.get(name, ""))


def count(number: int | None) -> str:
    """`12,345`, or `?`."""
    return "?" if number is None else f"{number:,}"


def total(one: shapes.Scatter) -> str:
    """How many items it has: `12,345`, `about 12,345` where that is an estimate, or `?`."""
    return count(one.total) if one.expected is None else f"about {count(one.expected)}"


def done(one: shapes.Scatter) -> str | None:
    """Its share of items with an outcome: `45 %`, `about 45 %`; None where not even an estimate is known."""
    if one.expected is None:
        return None if one.percent is None else f"{one.percent:g} %"
    # More may be done than were expected; the input says so only when it ends.
    return f"about {shapes.share(min(one.succeeded + one.failed + one.skipped, one.expected), one.expected):g} %"


def moment(at: float) -> str:
    """`2026-11-20 14:03:07`, by the clock on this host's wall."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def rate(per_second: float | None) -> str:
    """`1,234/s`, `0.4/s`, or `?`."""
    if per_second is None:
        return "?"
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.2g}/s"
