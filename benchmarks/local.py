"""One machine: against multiprocessing.Pool, joblib, and a plain loop."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from joblib import Parallel, delayed

import manifold
from benchmarks.measure import Row, best, home
from benchmarks.work import burn, noop
from manifold.engines.open import open_engine

MANY = 10_000_000


def against_pool() -> Iterator[Row]:
    """Both pools are warm; Manifold keeps its ledger, signatures and digests, as always."""
    with home(), open_engine("processes://2") as engine:
        manifold.scatter(noop, range(10_000), engine=engine)
        kept: list[manifold.Results] = []

        def ours() -> None:
            kept[:] = [manifold.scatter(noop, range(MANY), engine=engine)]

        scattered = best(ours)
        read = best(lambda: list(kept[0]))
        assert len(kept[0]) == MANY
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(noop, range(10_000))
        sizes = (20_000, 65_536, 1_250_000)
        times = {size: best(partial(pool.map, noop, range(MANY), size), 2) for size in sizes}
    size, peer = min(times.items(), key=lambda one: one[1])
    yield Row(
        f"{MANY:,} no-op, processes://2, against multiprocessing.Pool(2).map",
        peer / scattered,
        0.8,
        detail=f"{scattered:.2f} s, results in the store; against {peer:.2f} s, chunksize {size:,}",
    )
    yield Row(
        "the same, all results read back into a list, as Pool.map returns them",
        peer / (scattered + read),
        0.8,
        detail=f"{scattered:.2f} s and {read:.2f} s to read; against {peer:.2f} s",
    )


def against_joblib() -> Iterator[Row]:
    count = 1_000_000
    with home(), open_engine("processes://2") as engine:
        manifold.scatter(noop, range(10_000), engine=engine)
        ours = best(lambda: list(manifold.scatter(noop, range(count), engine=engine)))
    with Parallel(n_jobs=2) as parallel:
        parallel(delayed(noop)(x) for x in range(10_000))
        peer = best(lambda: parallel(delayed(noop)(x) for x in range(count)), 1)
    yield Row(
        f"{count:,} no-op against joblib.Parallel(n_jobs=2)",
        peer / ours,
        5,
        detail=f"{ours:.2f} s, results read back, against {peer:.2f} s",
    )


def per_item() -> Iterator[Row]:
    count = 3_000_000

    def bare() -> None:
        for x in range(count):
            noop(x)

    with home(), open_engine("threads://1") as engine:
        manifold.scatter(noop, range(10_000), engine=engine)
        ours = best(lambda: manifold.scatter(noop, range(count), engine=engine))
    loop = best(bare)
    yield Row(
        "cost of an item on threads://1 over a bare for loop",
        (ours - loop) / count * 1e6,
        1.5,
        "µs",
        floor=False,
        detail=f"{ours:.2f} s against {loop:.2f} s for {count:,} items",
    )


def cpu_share() -> Iterator[Row]:
    count = 2_000
    with home(), open_engine("processes://2") as engine:
        manifold.scatter(noop, range(10_000), engine=engine)
        ours = best(lambda: manifold.scatter(burn, range(count), engine=engine))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(noop, range(100))
        # What two processes of this machine can really do at once, without any scheduler between.
        ideal = best(lambda: pool.map(burn, range(count), count // 2))
    yield Row(
        "10 ms CPU items over 2 processes, share of the ideal time",
        ideal / ours,
        0.95,
        detail=f"{ours:.2f} s; two equal halves, sent at once, take {ideal:.2f} s",
    )


def growth() -> Iterator[Row]:
    """Memory and time of the coordinator as the input grows, each in a fresh process."""
    memory: dict[int, float] = {}
    seconds: dict[int, float] = {}
    again = 0.0
    for count in (100_000, 1_000_000, MANY):
        with home():
            took = [_coordinator(count) for _ in range(1 if count == MANY else 3)]
            memory[count], seconds[count] = max(one[0] for one in took), min(one[1] for one in took)
            again = took[0][2]
    yield Row(
        f"memory of the coordinator, {MANY:,} items over 100,000",
        memory[MANY] - memory[100_000],
        60,
        "MB more",
        floor=False,
        detail=f"peak {memory[MANY]:.0f} MB against {memory[100_000]:.0f} MB",
    )
    yield Row(
        f"time of {MANY:,} items over 1,000,000",
        seconds[MANY] / seconds[1_000_000],
        10.5,
        floor=False,
        detail=f"{seconds[MANY]:.2f} s against {seconds[1_000_000]:.2f} s",
    )
    yield Row(
        f"continuing a finished scatter of {MANY:,}", again, 2, "s", floor=False, detail="from the call to its results"
    )


_SCRIPT = """
import sys, time
import manifold
from benchmarks.measure import peak_memory
from benchmarks.work import noop
from manifold.engines.open import open_engine
count = int(sys.argv[1])
with open_engine("processes://2") as engine:
    manifold.scatter(noop, range(1000), engine=engine)
    began = time.perf_counter()
    manifold.scatter(noop, range(count), engine=engine, scatter_id=f"{count}-{time.time()}")
    took = time.perf_counter() - began
    name = "again"
    manifold.scatter(noop, range(count), engine=engine, scatter_id=name)
    began = time.perf_counter()
    manifold.scatter(noop, range(count), engine=engine, scatter_id=name)
    print(peak_memory(), took, time.perf_counter() - began)
"""


def _coordinator(count: int) -> tuple[float, float, float]:
    """Peak memory in MB, seconds of a first run, seconds of the second call under the same id."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(count)], capture_output=True, text=True, check=True, timeout=600
    )
    memory, took, again = map(float, done.stdout.split())
    return memory, took, again


BENCHMARKS = {
    "pool": against_pool,
    "joblib": against_joblib,
    "per-item": per_item,
    "cpu": cpu_share,
    "growth": growth,
}
