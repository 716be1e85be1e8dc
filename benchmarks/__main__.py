"""`python -m benchmarks [NAME …] [--write FILE]`: measure, print a table, and put it into a document."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Row, machine

_MODULES = ("local", "commits", "celery", "engines", "stack")
_BEGIN, _END = "<!-- measured -->", "<!-- end of measured -->"


def main(
    names: Annotated[list[str] | None, typer.Argument(help="which; all without")] = None,
    write: Annotated[Path | None, typer.Option(help="put the table into this document")] = None,
) -> None:
    """Measure the speed, as ratios in one run."""
    console = Console()
    found = {name: work for one in _MODULES for name, work in import_module(f"benchmarks.{one}").BENCHMARKS.items()}
    unknown = set(names or ()) - found.keys()
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(found)}")
    rows: list[Row] = []
    for name in names or found:
        with console.status(f"measuring {name}"):
            for row in found[name]():
                rows.append(row)
                console.print(*row.cells(), sep=" │ ")
    table = Table("what", "measured", "wanted", "met", "detail")
    for row in rows:
        table.add_row(*row.cells())
    console.print(table, machine(), sep="\n")
    if write is not None:
        _write(write, rows)


def _write(path: Path, rows: list[Row]) -> None:
    """Replace what stands between the marks; rows that were not measured this time stay."""
    head, _, rest = path.read_text().partition(_BEGIN)
    before, _, tail = rest.partition(_END)
    table = {row.what: f"| {' | '.join(row.cells())} |" for row in rows}
    kept = [line for line in before.splitlines() if line.startswith("| ") and line.split(" | ")[0] != "| what"]
    lines = [table.pop(line[2:].partition(" | ")[0], line) for line in kept]
    lines = ["| what | measured | wanted | met | detail |", "|---|---|---|---|---|", *lines, *table.values()]
    path.write_text(f"{head}{_BEGIN}\nOn {machine()}.\n\n" + "\n".join(lines) + f"\n{_END}{tail}")


if __name__ == "__main__":
    typer.run(main)
