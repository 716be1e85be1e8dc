"""One row for each transport: how its middle (a hub, a broker) is had in a test. Other tests are made of these rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.remote.fleet import Fleet, free_port

Middle = Callable[[Path], AbstractContextManager[Fleet]]
"""Makes a fleet without workers; its middle is started by `Fleet.start_hub`. Takes a folder of its own."""


@contextmanager
def tcp(folder: Path) -> Iterator[Fleet]:
    yield Fleet(f"tcp://127.0.0.1:{free_port()}", folder)


MIDDLES: dict[str, Middle] = {"tcp": tcp}
"""By scheme."""


@contextmanager
def fleet(scheme: str, folder: Path, *, workers: int = 2) -> Iterator[Fleet]:
    """A middle and workers of one slot each, which serve."""
    with MIDDLES[scheme](folder) as made:
        try:
            made.start_hub()
            for _ in range(workers):
                made.worker()
            made.engine(workers).shutdown()
            yield made
        finally:
            made.close()
