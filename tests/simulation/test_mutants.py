"""The simulation is worth something only if it finds what it should: each guard is dropped in turn."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, SURVIVES, Mutant
from tests.simulation.story import simulate
from tests.simulation.world import Violation

SEEDS = 600
RARE = {
    "a chunk reaches past the end",
    "a fenced coordinator ends the scatter",
    "a fenced coordinator withdraws",
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
    assert _found(MUTANTS[name], SEEDS), "no seed noticed"


@pytest.mark.parametrize("name", sorted(SURVIVES))
def test_the_epoch_of_a_commit_alone_is_covered_by_disjoint_intervals(name: str) -> None:
    assert not _found(SURVIVES[name], 60)


def _found(mutant: Mutant, seeds: int) -> bool:
    with mutant():
        for seed in range(seeds):
            try:
                simulate(seed)
            except Violation:
                return True
    return False
