"""Each engine whose workers we start, at one middle: against `celery://`, and a program over the same library."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.remote.middles import MIDDLES

import manifold
from benchmarks.celery import CHUNK, MANY, workers
from benchmarks.measure import Row, best
from benchmarks.peers import PEERS
from benchmarks.work import noop
from manifold.abc import Engine
from manifold.demo.server import LOOPBACK
from manifold.engines.open import open_engine

TRIES = 10
WORKERS, SLOTS = 2, 2
CHUNKS = [(start, start + CHUNK) for start in range(0, MANY, CHUNK)]


def against_celery_and_by_hand() -> Iterator[Row]:
    """One after another, each with its middle and its workers, which end before the next ones start."""
    with workers():
        with open_engine("celery://bench") as engine:
            celery = _seconds(engine)
        for scheme in MIDDLES:
            with _engine(scheme) as engine:
                ours = _seconds(engine)
            yield Row(
                f"{MANY:,} no-op on {scheme}://, chunks of {CHUNK:,}, against celery://",
                celery / ours,
                0.8,
                detail=f"{ours:.3f} s against {celery:.3f} s, two workers of two processes each",
            )
            if scheme in PEERS:
                peer = _by_hand(scheme)
                yield Row(
                    f"cost of a chunk on {scheme}:// over one that is sent by hand over its library",
                    (ours - peer) / len(CHUNKS) * 1000,
                    10,
                    "ms",
                    floor=False,
                    detail=f"{ours:.3f} s against {peer:.3f} s, which keep no ledger, no store and no signatures",
                )


@contextmanager
def _engine(scheme: str) -> Iterator[Engine]:
    """The engine, with its workers, at a middle of its own on this host."""
    with TemporaryDirectory(prefix="manifold-bench-") as folder:
        fleet = MIDDLES[scheme](Path(folder), LOOPBACK)
        try:
            fleet.start_hub()
            for _ in range(WORKERS):
                fleet.worker(SLOTS)
            with fleet.engine(WORKERS * SLOTS) as engine:
                yield engine
        finally:
            fleet.close()


def _seconds(engine: Engine) -> float:
    """The best time of all items; the engine and its processes are warm."""
    while engine.slots() < WORKERS * SLOTS:
        time.sleep(0.1)
    manifold.scatter(noop, range(MANY), engine=engine, chunk_size=CHUNK)
    took = best(lambda: manifold.scatter(noop, range(MANY), engine=engine, chunk_size=CHUNK), TRIES)
    gc.collect()  # what the results hold of ledger and store
    return took


def _by_hand(scheme: str) -> float:
    with PEERS[scheme]() as run:
        first = run(CHUNKS)
        assert sorted(x for chunk in first for x in chunk) == list(range(MANY))
        return best(lambda: run(CHUNKS), TRIES)


BENCHMARKS = {"engines": against_celery_and_by_hand}
