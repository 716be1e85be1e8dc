"""Arguments and options that several commands share, and how their values are read."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Annotated, Any

import typer

from manifold.abc import Source
from manifold.cli import out
from manifold.errors import ConfigError
from manifold.policy import Policy
from manifold.registry import FORMATS
from manifold.text import a_type, either


def _keep_stdout(ctx: typer.Context, as_json: bool) -> bool:
    """Whoever parses the answer wants nothing else on stdout."""
    if as_json:
        ctx.with_resource(out.only_answers())
    return as_json


ScatterId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A uid or its unique beginning, a scatter's name, or dag/run/task (dag/run/task/3 of a mapped task), each "
        "as Airflow shows it or percent-encoded.",
        show_default=False,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", callback=_keep_stdout, help="Answer with one JSON object, as docs/cli.md describes it."),
]
OnlyError = Annotated[
    str | None,
    typer.Option(
        "--only-error",
        metavar="KIND",
        help="Only items that failed so: an error's type (ValueError), or the fingerprint that `show --json` tells.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]

_RECORDS = either(f".{row.suffixes[0]}" for row in FORMATS.entries.values() if row.suffixes)
ITEMS_HELP = (
    f"A path or glob of {_RECORDS} files (an item per record) or .txt files (an item per line), packed or "
    "not; lines:PATH reads any file by line; range:1000000 and range:5:50:5 are numbers; - is a line of stdin each."
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PACKED = (".gz", ".bz2", ".xz")
_ELSEWHERE = {"engine", "store"}
_FUNCTIONS = ("key", "reduce")


def items_of(text: str) -> Source:
    """The items that `--items` means."""
    from manifold.sources import as_source, lines, records

    if text == "-":
        return as_source(line.rstrip("\n") for line in sys.stdin)
    if text.startswith("range:"):
        return as_source(_range(text))
    if text.startswith("lines:"):
        return lines(text.removeprefix("lines:"))
    name = text.lower()
    while name.endswith(_PACKED):
        name = name.rpartition(".")[0]
    return lines(text) if name.endswith(".txt") else records(text)


def _range(text: str) -> range:
    try:
        return range(*(int(part.replace("_", "")) for part in text.split(":")[1:]))
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"--items {text} is not a range such as range:1000000 or range:0:100:5") from exc


def function_of(text: str) -> Callable[..., Any]:
    """The function behind MODULE:FUNCTION, which may lie in the working folder."""
    module, separator, name = text.partition(":")
    if not (separator and module and name):
        raise ConfigError(f"{text!r} is not of the form MODULE:FUNCTION, such as mymodule:fetch")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as exc:
        raise ConfigError(f"{text}: there is no module {exc.name!r} in {os.getcwd()} or among those installed") from exc
    except AttributeError as exc:
        raise ConfigError(f"{text}: {exc}") from exc
    except Exception as exc:
        raise ConfigError(f"{text}: importing {module} raises {type(exc).__name__}: {exc}") from exc
    if not callable(found):
        raise ConfigError(f"{text} is {a_type(found)}, not a function")
    return found  # type: ignore[no-any-return]


def named_values(pairs: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """(name, value) of each `name=value`; a value is JSON where it can be read as such, else text."""
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator:
            raise ConfigError(f"{pair!r} is not of the form name=value")
        try:
            yield name, json.loads(text)
        except ValueError:
            yield name, {"none": None, "None": None, "True": True, "False": False}.get(text, text)


def options_of(pairs: Iterable[str]) -> dict[str, Any]:
    """The options of `manifold.policy` that `--option name=value` gives, checked. `reduce` is a MODULE:FUNCTION."""
    options = dict(named_values(pairs))
    for name in sorted(_ELSEWHERE & options.keys()):
        raise ConfigError(f"say --{name} instead of --option {name}=…")
    for name in _FUNCTIONS:
        value = options.get(name)
        if isinstance(value, str) and ":" in value:
            options[name] = function_of(value)
    Policy.of(options)
    return options


def seconds_of(text: str) -> float:
    """The seconds of a duration such as `30d`, `12h`, `90m` or `45s`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is not a duration such as 30d, 12h, 90m or 45s")
    return float(match[1]) * _UNITS[match[2]]


def chosen_kinds(kinds: Iterable[tuple[str, str]], wanted: str) -> set[str]:
    """The fingerprints, of (fingerprint, type) pairs, that `--only-error` means; raises ConfigError for none."""
    known = list(kinds)
    fitting = {mark for mark, kind in known if wanted in (mark, kind, kind.rpartition(".")[2])}
    if not fitting:
        there = ", ".join(dict.fromkeys(kind for _, kind in known)) or "none"
        raise ConfigError(f"no item is failed by {wanted}; the kinds of errors there are: {there}")
    return fitting
