"""The simulation is worth something only if it finds what it should: each guard is dropped in turn."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest

from tests.simulation.mutants import MUTANTS, SURVIVES, Mutant
from tests.simulation.story import simulate
from tests.simulation.world import Violation

SEEDS = 1000
FOCUS = {"a fenced coordinator ends the scatter": ("stall",), "a fenced coordinator withdraws": ("stall",)}
"""What is to go wrong often where a guard is dropped that seldom matters."""
FOUND_BY = {
    "a commit in doubt counts as lost": 95,
    "a fenced coordinator counts the items": 181,
    "a fenced coordinator withdraws": 690,
    "a rest is forgotten, and gaps do not matter": 17,
    "a source that breaks off has ended": 53,
    "an attempt that is not open commits": 289,
    "another input is not noticed": 146,
    "blobs are deleted before the commit is settled": 228,
    "chunks overlap": 101,
    "gc lists the store last": 61,
    "gc takes the blobs of open attempts": 268,
    "re-runs of an earlier epoch stay open": 17,
    "re-runs outlive what they lay over": 148,
    "suspects do not matter": 302,
    "suspicion falls on a successor": 82,
    "the rest after a prefix is forgotten": 17,
    "the total changes": 16,
    "the total is below a chunk": 16,
}
"""A seed that finds each, tried first: for speed alone, since after a change any other one will do."""
RARE = {
    "a chunk reaches past the end",
    "gc gives up attempts at work",
    "gc retires what runs again",
}
"""What so many seeds do not find; tests/ledger drops these guards by hand."""


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", f"k1:{'5e' * 32}")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - RARE))
def test_a_dropped_guard_is_found(name: str) -> None:
    seeds = (FOUND_BY.get(name, 0), *range(SEEDS))
    assert _found(MUTANTS[name], seeds, FOCUS.get(name, ())), "no seed noticed"


@pytest.mark.parametrize("name", sorted(SURVIVES))
def test_the_epoch_of_a_commit_alone_is_covered_by_disjoint_intervals(name: str) -> None:
    assert not _found(SURVIVES[name], range(60))


def _found(mutant: Mutant, seeds: Iterable[int], focus: Collection[str] = ()) -> bool:
    with mutant():
        for seed in seeds:
            try:
                simulate(seed, focus=focus)
            except Violation:
                return True
    return False
