"""The coordinator that users run, in a world that goes wrong in every way at once. A failing seed replays exactly."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

from tests.simulation.setting import SHAPES
from tests.simulation.small import CROSSINGS, REACHED
from tests.simulation.story import simulate
from tests.simulation.world import Violation

SEEDS = int(os.environ.get("MANIFOLD_SEEDS", "200"))
_BATCH = 25
_SHAPED = [("--shape", shape) for shape in SHAPES if shape != "any"]
_ENOUGH = 200  # seeds that go over every edge


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("how", "number"),
    [((), SEEDS), *((how, SEEDS // 12) for how in (("--wild",), ("--focus", "stall"), *_SHAPED))],
    ids=lambda one: " ".join(one) or "any" if isinstance(one, tuple) else str(one),
)
def test_every_seed_is_sound(how: tuple[str, ...], number: int) -> None:
    batches = [range(first, min(first + _BATCH, number)) for first in range(0, number, _BATCH)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        done = list(pool.map(partial(_run, how=how), batches))
    assert [line for lines, _ in done for line in lines] == []
    if not how and number >= _ENOUGH:
        crossed = sum((crossed for _, crossed in done), Counter[str]())
        assert not set(CROSSINGS) - (+crossed).keys(), "no seed goes over these edges of pages, receipts and caches"
    if "--shape" in how and number >= _ENOUGH // 12:
        crossed = sum((crossed for _, crossed in done), Counter[str]())
        assert not set(REACHED.get(how[1], ())) - (+crossed).keys(), "no seed of this shape comes to these"


def test_a_seed_replays_exactly() -> None:
    for seed in range(8):
        assert simulate(seed).digest() == simulate(seed).digest()


def _run(seeds: range, *, how: tuple[str, ...]) -> tuple[list[str], Counter[str]]:
    """What goes wrong in a batch of seeds, with the command that replays it; and the edges that were crossed."""
    os.environ.setdefault("MANIFOLD_SECRET", f"k1:{'5e' * 32}")
    wild, focus = "--wild" in how, how[1:] if "--focus" in how else ()
    shape = how[1] if "--shape" in how else "any"
    found, crossed = list[str](), Counter[str]()
    for seed in seeds:
        try:
            crossed += simulate(seed, wild=wild, focus=focus, shape=shape).crossed
        except Violation as exc:
            given = " ".join(f"'{one}'" if " " in one else one for one in how)
            found.append(f"python -m tests.simulation --seed {seed} {given} -v: {exc}")
    return found, crossed
