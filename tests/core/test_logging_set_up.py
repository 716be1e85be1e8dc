"""An item may import what sets logging up, as Airflow does: later items' lines are kept once."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

import manifold


def set_up(n: int) -> None:
    if n == 0:
        logging.basicConfig(stream=sys.stdout, force=True, format="set up: %(message)s")
    logging.getLogger("mine").warning("item %d", n)


def test_the_lines_of_items_after_one_that_set_logging_up_are_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path))
    results = manifold.scatter(set_up, range(4), engine="processes://1", chunk_size=1, keep_logs=True)
    lines = [(line.pos, line.text) for line in results.logs()]
    assert lines == [(0, "set up: item 0"), *((n, f"mine: item {n}") for n in range(1, 4))]
