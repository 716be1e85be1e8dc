"""What these DAGs share: the fields of their trigger form, items that fail on demand, and where an answer goes.

A module beside the DAG files, which no worker has installed: it travels with the functions that use it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

from airflow.sdk import Param

ENGINES = ["default", "celery_default", "processes://2", "threads://2"]


_ENGINE = """Where the items run. **default**: the engine that this deployment is configured for (`[manifold]
default_engine`). **celery_default**: Airflow's connection of that name, which leads to Celery workers.
**processes://2**, **threads://2**: two processes, or two threads, of the host that runs the task."""
_ITEMS = "How many items the function runs over, the first ones of the input."
_FAIL = """Which share of the items raises an error, to see what becomes of them: 0.01 is one in a hundred, the same
ones each time. The task succeeds nevertheless, because it tolerates 20 %; its failed items wait to be looked at."""


def form(items: int, most: int) -> dict[str, Param]:
    """The fields of the trigger form."""
    return {
        "engine": Param("default", type="string", enum=ENGINES, title="Engine", description_md=_ENGINE),
        "items": Param(items, type="integer", minimum=0, maximum=most, title="Number of items", description=_ITEMS),
        "fail": Param(0.0, type="number", minimum=0, maximum=0.1, title="Share of items that fail", description=_FAIL),
    }


def fail_some(item: Any, share: str) -> None:
    """Raise ValueError for this share of all items, the same ones each time."""
    if crc32(repr(item).encode()) % 1000 < float(share) * 1000:
        raise ValueError("told to fail by the trigger form")


def write(name: str, rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file into the folder `MANIFOLD_OUT`, and the same into the task's log."""
    path = Path(os.environ.get("MANIFOLD_OUT", ".manifold/out"), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = "".join(",".join(map(str, row)) + "\n" for row in rows)
    path.write_text(table)
    logging.getLogger(__name__).info("%s:\n%s", path, table.replace(",", "\t"))
