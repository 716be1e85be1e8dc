"""Text that is not UTF-8, results that nobody could read, and a store's limit, through real Celery workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.engines.celery.engine import CeleryEngine
from manifold.ledger import open_ledger, verify
from tests.celery.brokers import Deployment, serves

ODD, SHOWN = "caf\udce9\0.csv", "caf\\udce9\\x00.csv"


@pytest.fixture
def engine(broker: Deployment) -> Iterator[CeleryEngine]:
    with broker.worker("text", "text"), broker.engine("text") as engine:
        yield serves(engine, 2)


class Unreadable(Exception):
    def __init__(self, limit: int, used: int) -> None:
        super().__init__(f"{used} of {limit}")


def odd(x: int) -> Any:
    print(ODD)
    logging.getLogger("items").warning(ODD)
    if x % 3 == 1:
        raise FileNotFoundError(ODD)
    return Unreadable(1, 2) if x % 3 == 2 else ODD


def test_odd_text_and_unreadable_results_are_the_items_own_matter(engine: CeleryEngine, tmp_path: Path) -> None:
    store = f"{(tmp_path / 'store').as_uri()}?shared=true"
    with closing(open_ledger(f"sqlite:///{tmp_path}/ledger.db")) as ledger:
        results = manifold.scatter(
            odd,
            range(30),
            engine=engine,
            store=store,
            ledger=ledger,
            key=lambda x: ODD,
            tolerate="100%",
            keep_logs=True,
        )
        assert list(results.pairs()) == [(x, ODD) for x in range(0, 30, 3)]
        failed = {one.position: one for one in results.failures()}
        assert failed[1].message == SHOWN
        assert failed[1].key == SHOWN
        assert "can be pickled, but not be unpickled" in failed[2].message
        assert {line.text for line in results.logs()} == {SHOWN, f"items: {SHOWN}"}
        assert verify(ledger, results.uid) == []
