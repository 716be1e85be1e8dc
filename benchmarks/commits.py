"""The coordinator and its ledger alone: chunk commits a second, and the CPU that each costs, with simulated workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import manifold
from benchmarks.measure import Row, home
from benchmarks.simulated import SimulatedEngine
from benchmarks.work import noop
from manifold.demo.postgres import PostgresServer
from manifold.ledger import open_ledger

CHUNKS = 20_000
ITEMS = 10  # in a chunk


@dataclass(frozen=True, slots=True)
class Measured:
    """One scatter: seconds by the clock, and of the coordinator's thread."""

    seconds: float
    cpu: float


def one_scatter(url: str, slots: int, chunks: int = CHUNKS, busy: float = 0.0) -> Measured:
    """Return what a scatter of so many chunks took, with the ledger at `url`."""
    with SimulatedEngine(slots, busy) as engine:
        ledger = open_ledger(url, migrate=True)
        try:
            manifold.scatter(noop, range(1000), engine=engine, ledger=ledger, chunk_size=ITEMS, monitors=[])
            began, cpu = time.perf_counter(), time.thread_time()
            manifold.scatter(noop, range(chunks * ITEMS), engine=engine, ledger=ledger, chunk_size=ITEMS, monitors=[])
            return Measured(time.perf_counter() - began, time.thread_time() - cpu)
        finally:
            ledger.close()


@contextmanager
def ledgers() -> Iterator[dict[str, str]]:
    """The URL of an empty ledger in each database, both on this disk and as durable as they come."""
    with home() as folder:
        server = PostgresServer(folder / "postgres")
        try:
            with server:
                yield {"SQLite": f"sqlite:///{folder / 'ledger.db'}", "PostgreSQL": server.create_database("ledger")}
        finally:
            server.remove()


def commits() -> Iterator[Row]:
    """Two scatters of each kind; the better one counts."""
    with ledgers() as urls:
        for database, url in urls.items():
            many = min((one_scatter(url, 1000) for _ in range(2)), key=lambda one: one.seconds)
            yield Row(
                f"chunk commits a second, {database}, 1,000 simulated slots",
                CHUNKS / many.seconds,
                2000,
                "a second",
                detail=f"{many.seconds:.2f} s for {CHUNKS:,} chunks, {many.cpu / CHUNKS * 1e3:.3f} ms of CPU for each",
            )
            few = min((one_scatter(url, 100) for _ in range(2)), key=lambda one: one.cpu)
            yield _cpu(f"the coordinator's CPU for a chunk, {database}, 100 simulated slots", few, CHUNKS)
            chunks = CHUNKS // 4
            slow = min((one_scatter(url, 100, chunks, busy=0.1) for _ in range(2)), key=lambda one: one.cpu)
            yield _cpu(f"the same, {database}, where a chunk keeps a slot busy for about 0.1 s", slow, chunks)


def _cpu(what: str, measured: Measured, chunks: int) -> Row:
    detail = f"{measured.cpu:.2f} s for {chunks:,} chunks, {chunks / measured.seconds:,.0f} of them a second"
    return Row(what, measured.cpu / chunks * 1e3, 1, "ms", floor=False, detail=detail)


BENCHMARKS = {"commits": commits}
