"""`python -m tests.celery.coordinate FOLDER QUEUE ITEMS`: one try at a scatter of long items, as in a task of its own.

The broker comes by the environment, as Airflow's workers have it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from celery import Celery

import manifold
from manifold.abc import Monitor
from manifold.api import scatter_items
from manifold.engines.celery.engine import CeleryEngine

BROKER = "AIRFLOW__CELERY__BROKER_URL"
SLOW = 120.0


def item(number: int, folder: str) -> int:
    """Say that it begins, wait until it may end, and say that it has."""
    with (Path(folder) / f"began{number}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    until = time.monotonic() + SLOW
    while not (Path(folder) / "go").exists() and time.monotonic() < until:
        time.sleep(0.05)
    (Path(folder) / f"ended{number}").touch()
    return number * number


def scatter(folder: Path, queue: str, items: int, *, monitors: Sequence[Monitor] = ()) -> manifold.Results:
    """One try. Its owner is the process that it runs in, so the next one need not wait for the lease."""
    app = Celery("coordinator", broker=os.environ[BROKER], set_as_current=False)
    with CeleryEngine(app, queue) as engine:
        return scatter_items(
            item,
            list(range(items)),
            engine=engine,
            ledger=f"sqlite:///{folder / 'ledger.db'}",
            store=f"file://{folder / 'store'}",
            scatter_id="long",
            chunk_size=1,
            consts={"folder": str(folder)},
            monitors=monitors,
        )


if __name__ == "__main__":
    scatter(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
