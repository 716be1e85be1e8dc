"""The coordinator that users run, in a world that goes wrong in every way at once. A failing seed replays exactly."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

from tests.simulation.story import simulate
from tests.simulation.world import Violation

SEEDS = int(os.environ.get("MANIFOLD_SEEDS", "2000"))
_BATCH = 50


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("wild", [False, True])
def test_every_seed_is_sound(wild: bool) -> None:
    seeds = range(0, SEEDS // 8 if wild else SEEDS, _BATCH)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        found = [line for lines in pool.map(partial(_violations, wild=wild), seeds) for line in lines]
    assert found == []


def test_a_seed_replays_exactly() -> None:
    for seed in range(20):
        assert simulate(seed).digest() == simulate(seed).digest()


def _violations(first: int, *, wild: bool) -> list[str]:
    """What goes wrong in a batch of seeds, with the command that replays it."""
    os.environ.setdefault("MANIFOLD_SECRET", f"k1:{'5e' * 32}")
    found = []
    for seed in range(first, min(first + _BATCH, SEEDS)):
        try:
            simulate(seed, wild=wild)
        except Violation as exc:
            found.append(f"python -m tests.simulation --seed {seed}{' --wild' * wild} -v: {exc}")
    return found
