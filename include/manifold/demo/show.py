"""What a run of the demo ends with: its answer as a table, and the account of its items."""

from __future__ import annotations

import csv
from pathlib import Path

from rich import box
from rich.table import Table

from manifold.demo.screen import Screen
from manifold.ledger import Ledger, verify
from manifold.protocol.records import ScatterRow

_WORDS = ("origin", "carrier")


def show_answer(path: Path, screen: Screen) -> bool:
    """Print a CSV file as a table; False where there is none, or nothing in it."""
    if not path.exists():
        screen.say(f"\nthere is no answer: the run ended well, and {path} was not written")
        return False
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    shown = [[f"{int(cell):,}" if cell.lstrip("-").isdigit() else cell for cell in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name, *cells in zip(header, *shown, strict=True):
        # A narrow terminal folds a heading between its words, and cuts neither word nor number.
        width = max(map(len, [*name.split("_"), *cells]))
        table.add_column(name.replace("_", " "), justify="left" if name in _WORDS else "right", min_width=width)
    for row in shown:
        table.add_row(*row)
    screen.console.print(table)
    screen.say(f"also in {path}")
    return bool(rows)


def show_account(ledger: Ledger, row: ScatterRow | None, screen: Screen) -> bool:
    """Print what became of the items; whether each one has an outcome, and the ledger proves it."""
    if row is None:
        screen.say("\nno scatter: the run ended before it began one")
        return False
    counts = {"succeeded": row.n_ok, "failed": row.n_failed, "skipped": row.n_skipped}
    parts = [f"{count:,} {name}" for name, count in counts.items()]
    if row.total is None:
        parts.append("the rest without outcome; of a number that is unknown, because the input was not read to its end")
    else:
        parts.append(f"{row.total - row.done:,} without outcome; of {row.total:,} items")
    screen.say(f"\nThe account: {', '.join(parts)}")
    violations = verify(ledger, row.uid)
    for violation in violations:
        screen.say(f"the ledger contradicts itself: {violation.invariant}: {violation.text}")
    return row.total == row.done and not violations
