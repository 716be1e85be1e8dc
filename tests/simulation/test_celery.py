"""Celery's losses, judged by the code that really judges them, in a world that goes wrong in every way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from unittest import mock

import pytest

from manifold.engines.celery import calls, pool_state
from tests.simulation import celery
from tests.simulation.celery import simulate
from tests.simulation.world import Violation

SEEDS = 200
MUTANTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "a second delivery is a death": partial(mock.patch.object, calls, "_DOUBT", 0.0),
    "a short silence is a death": partial(mock.patch.object, celery, "SILENCE", 0.5),
    "how far a process is, is not written down": partial(
        mock.patch.object, pool_state.PoolState, "at", lambda *_: None
    ),
    "no death is seen": partial(mock.patch.object, pool_state.PoolState, "dead", lambda *_: []),
    "the order of the queue says nothing": partial(mock.patch.object, calls.InFlight, "_note_fetched", lambda *_: None),
    "no probe is sent after what waits": partial(mock.patch.object, calls.InFlight, "wants_probe", lambda _: False),
}
"""What is dropped, by what then goes wrong."""


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", f"k1:{'5e' * 32}")


@pytest.mark.timeout(600)
def test_every_call_is_answered_and_no_death_is_told_that_was_none() -> None:
    wrong, crossed = [], Counter[str]()
    for seed in range(SEEDS):
        try:
            crossed += simulate(seed).crossed
        except Violation as exc:
            wrong.append(f"python -m tests.simulation --celery --seed {seed} -v: {exc}")
    assert wrong == []
    assert min(crossed["deaths that were seen"], crossed["deaths by silence"], crossed["losses"]) > 0


def test_a_seed_replays_exactly() -> None:
    for seed in range(10):
        assert simulate(seed).digest() == simulate(seed).digest()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_dropped_rule_is_found(name: str) -> None:
    with MUTANTS[name]():
        for seed in range(SEEDS):
            try:
                simulate(seed)
            except Violation:
                return
    pytest.fail("no seed noticed")
