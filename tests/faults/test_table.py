"""The page on reliability shows what was measured."""

from __future__ import annotations

from pathlib import Path

from tests.faults.catalogue import FAULTS
from tests.faults.table import Table, written

_PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def test_the_page_shows_what_was_measured() -> None:
    text = _PAGE.read_text()
    assert written(text, Table.kept()) == text, 'run: make faults ARGS="--write docs/reliability.md"'


def test_every_row_is_of_a_fault_that_is_still_tried() -> None:
    for kind, rows in Table.kept().rows.items():
        for name in rows:
            assert kind in FAULTS[name].kinds
