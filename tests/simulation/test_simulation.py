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
@pytest.mark.parametrize(
    ("how", "number"), [((), SEEDS), (("--wild",), SEEDS // 8), (("--focus", "stall"), SEEDS // 8)]
)
def test_every_seed_is_sound(how: tuple[str, ...], number: int) -> None:
    batches = [range(first, min(first + _BATCH, number)) for first in range(0, number, _BATCH)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        found = [line for lines in pool.map(partial(_violations, how=how), batches) for line in lines]
    assert found == []


def test_a_seed_replays_exactly() -> None:
    for seed in range(20):
        assert simulate(seed).digest() == simulate(seed).digest()


def _violations(seeds: range, *, how: tuple[str, ...]) -> list[str]:
    """What goes wrong in a batch of seeds, with the command that replays it."""
    os.environ.setdefault("MANIFOLD_SECRET", f"k1:{'5e' * 32}")
    wild, focus = "--wild" in how, how[1:] if "--focus" in how else ()
    found = []
    for seed in seeds:
        try:
            simulate(seed, wild=wild, focus=focus)
        except Violation as exc:
            found.append(f"{' '.join(('python -m tests.simulation --seed', str(seed), *how))} -v: {exc}")
    return found
