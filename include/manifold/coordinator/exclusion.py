"""Workers on which chunks fail that others run: they get none for a while.

A worker whose disk is full, that lacks a package or a GPU, or whose way to some service is cut takes chunks as fast as
it can fail them. Two signs speak against it, each in comparison with all others, for where everybody fails the function
is to blame:

* the function cannot be set up there, `REFUSED` times while others ran chunks;
* more than half of its items fail, and `TIMES` as large a share as elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from manifold.abc import Engine
from manifold.coordinator.reporter import Reporter
from manifold.protocol.records import Receipt

LOOK = 5.0
"""Seconds between two looks."""
REFUSED = 3
SHARE, TIMES = 0.5, 5.0
ITEMS = 50
"""Items that a worker, and the others together, have run before they are compared."""
FIRST, LONGEST = 60.0, 900.0
"""Seconds without chunks: the first time; at most, after being doubled each time."""
_HALVED = 60.0  # seconds in which what was counted counts half


@dataclass(slots=True)
class _Record:
    items: float = 0.0
    failed: float = 0.0
    chunks: float = 0.0
    refused: float = 0.0

    def share(self) -> float:
        return self.failed / self.items if self.items else 0.0


class Exclusion:
    """Counts what became of chunks by worker, and tells the engine. For one scatter.

    Where the engine cannot keep chunks from a worker, or does not say which processes belong together, nothing is
    done.
    """

    def __init__(self, engine: Engine, report: Reporter, now: float) -> None:
        self._engine = engine
        self._able = type(engine).exclude is not Engine.exclude
        self._report = report
        self._records: defaultdict[str, _Record] = defaultdict(_Record)  # by process
        self._nodes: dict[str, str] = {}
        self._times: defaultdict[str, int] = defaultdict(int)
        self._looked = self._halved = now

    def ran(self, receipt: Receipt) -> None:
        """Count a chunk that a worker has run."""
        if self._able:
            record = self._records[receipt.worker]
            record.chunks += 1
            record.items += receipt.n_ok + receipt.n_failed + receipt.n_skipped
            record.failed += receipt.n_failed

    def refused(self, worker: str) -> None:
        """Count a chunk for which a worker could not set the function up."""
        if self._able:
            self._records[worker].refused += 1

    def look(self, now: float) -> None:
        """Exclude who deserves it. Cheap unless `LOOK` seconds have passed."""
        if not self._able or now - self._looked < LOOK:
            return
        self._looked = now
        self._nodes |= {worker.name: worker.node for worker in self._engine.workers() if worker.node}
        by_node = self._by_node()
        for node in by_node:
            others = _sum(record for name, record in by_node.items() if name != node)
            if (why := _against(by_node[node], others)) is not None:
                self._exclude(node, why)
        if now - self._halved >= _HALVED:
            self._halved = now
            self._halve()

    def _halve(self) -> None:
        """Let what was long ago count less, and forget the processes that are gone."""
        for record in self._records.values():
            record.items, record.failed = record.items / 2, record.failed / 2
            record.chunks, record.refused = record.chunks / 2, record.refused / 2
        for process in [process for process, its in self._records.items() if max(its.chunks, its.refused) < 0.5]:
            del self._records[process]
            self._nodes.pop(process, None)

    def _exclude(self, node: str, why: str) -> None:
        seconds = min(LONGEST, FIRST * 2.0 ** self._times[node])
        if self._engine.exclude(node, seconds, f"excluded: {why}"):
            self._times[node] += 1
            self._report.notice("warning", f"the worker {node} gets no chunks for {seconds:g} s: {why}")
            for process in [process for process in self._records if self._nodes.get(process) == node]:
                del self._records[process]

    def _by_node(self) -> dict[str, _Record]:
        found: defaultdict[str, list[_Record]] = defaultdict(list)
        for process, record in self._records.items():
            if process in self._nodes:
                found[self._nodes[process]].append(record)
        return {node: _sum(records) for node, records in found.items()}


def _sum(records: Iterable[_Record]) -> _Record:
    total = _Record()
    for record in records:
        total.items += record.items
        total.failed += record.failed
        total.chunks += record.chunks
        total.refused += record.refused
    return total


def _against(record: _Record, others: _Record) -> str | None:
    """Return what speaks against a worker; None where nothing does."""
    if record.refused >= REFUSED and record.refused > record.chunks and others.chunks > others.refused:
        return f"{record.refused:.0f} chunks could not be set up there, and others ran {others.chunks:.0f}"
    if min(record.items, others.items) < ITEMS:
        return None
    if record.share() > SHARE and record.share() >= TIMES * others.share():
        return f"{record.share():.0%} of its items failed, and {others.share():.1%} of those elsewhere"
    return None
