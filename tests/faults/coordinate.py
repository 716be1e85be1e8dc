"""`python -m tests.faults.coordinate ORDER`: one coordinator, as in a task. Its exit code is 0 after a success."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import Any

import msgspec

import manifold
from manifold.abc import Monitor
from manifold.events import Event, Progress
from tests.faults.work import ITEMS, work


class Order(msgspec.Struct, frozen=True):
    """What to run. Broker, ledger and secret come by the environment.

    Attributes:
        engine: "celery", or the URL of an engine.
        silence: seconds after which a silent Celery worker counts as dead.
        store: its URL; "": that of the environment.
        seconds: what an item takes.
        poison: the item that kills its process.
    """

    name: str
    engine: str = "celery"
    silence: float = 10.0
    store: str = ""
    seconds: float = 0.003
    poison: int | None = None


class Told(Monitor):
    """Prints what a person would read in the log."""

    def emit(self, event: Event) -> None:
        if not isinstance(event, Progress):
            print(f"{time.monotonic():.2f} {str(event)[:400]}", flush=True)


def main(order: Order) -> None:
    with _engine(order) as engine:
        manifold.scatter(
            work,
            range(ITEMS),
            engine=engine,
            store=order.store or None,
            scatter_id=order.name,
            consts={"seconds": order.seconds, "poison": order.poison},
            tolerate=0 if order.poison is None else 1,
            monitors=[Told()],
        )


def _engine(order: Order) -> Any:
    if order.engine != "celery":
        return nullcontext(order.engine)
    from manifold.engines.celery.engine import CeleryEngine
    from tests.celery.plain import app

    return CeleryEngine(app, "faults", silence=order.silence)


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
