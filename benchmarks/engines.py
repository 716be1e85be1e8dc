"""Each engine whose workers we start, at one middle: against `celery://`, and a program over the same library."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.remote.dask_cluster import DaskCluster, dask_cluster
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES
from tests.servers import RABBITMQ

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
        for scheme in _schemes():
            with _served(scheme) as served:
                with served.engine(WORKERS * SLOTS) as engine:
                    ours = _seconds(engine)
                peer = _by_hand(scheme, served.url) if scheme in PEERS else None
            yield Row(
                f"{MANY:,} no-op on {scheme}://, chunks of {CHUNK:,}, against celery://",
                celery / ours,
                0.8,
                detail=f"{ours:.3f} s against {celery:.3f} s, two workers of two processes each",
            )
            if peer is not None:
                yield Row(
                    f"cost of a chunk on {scheme}:// over one that is sent by hand over its library",
                    (ours - peer) / len(CHUNKS) * 1000,
                    10,
                    "ms",
                    floor=False,
                    detail=f"{ours:.3f} s against {peer:.3f} s, which keep no ledger, no store and no signatures",
                )


def _schemes() -> list[str]:
    """Return the engines whose middle can be had here: all, but for RabbitMQ where it is not installed."""
    if RABBITMQ.exists():
        return sorted([*MIDDLES, "dask"])
    sys.stderr.write(f"amqp:// is not measured: there is no {RABBITMQ}\n")
    return sorted([*MIDDLES.keys() - {"amqp"}, "dask"])


@contextmanager
def _served(scheme: str) -> Iterator[Fleet | DaskCluster]:
    """A middle on this host, and its workers."""
    with TemporaryDirectory(prefix="manifold-bench-") as folder, ExitStack() as stack:
        if scheme == "dask":
            yield stack.enter_context(dask_cluster(Path(folder), workers=WORKERS * SLOTS))
            return
        fleet = MIDDLES[scheme](Path(folder), LOOPBACK)
        stack.callback(fleet.close)
        fleet.start_hub()
        for _ in range(WORKERS):
            fleet.worker(SLOTS)
        yield fleet


def _seconds(engine: Engine) -> float:
    """The best time of all items; the engine and its processes are warm."""
    while engine.slots() < WORKERS * SLOTS:
        time.sleep(0.1)
    manifold.scatter(noop, range(MANY), engine=engine, chunk_size=CHUNK)
    took = best(lambda: manifold.scatter(noop, range(MANY), engine=engine, chunk_size=CHUNK), TRIES)
    gc.collect()  # what the results hold of ledger and store
    return took


def _by_hand(scheme: str, url: str) -> float:
    with PEERS[scheme](url) as run:
        first = run(CHUNKS)
        assert sorted(x for chunk in first for x in chunk) == list(range(MANY))
        return best(lambda: run(CHUNKS), TRIES)


BENCHMARKS = {"engines": against_celery_and_by_hand}
