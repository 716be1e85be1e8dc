"""What a lost chunk means: sent again as it is, cut to find the item that kills, or given up as poison.

A strike is a worker process that died unannounced while it ran the chunk, and not together with its neighbours.
Two strikes cut a chunk; an item that was alone in two processes that died is poison (SEMANTICS section 9).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import ref

from manifold.coordinator.chunks import Chunk
from manifold.errors import WorkerLost
from manifold.protocol.records import WorkerInfo

MASS_SECONDS = 10.0
"""More than half of a host's workers lost within this time is the fault of the host or the broker: nobody's strike."""
STRIKES = 2
EXCUSES = 2
"""How often a chunk is held innocent for a mass loss: two poison items that die side by side look like one."""
HOSTS = 8
"""How often a chunk is held innocent for a host that was lost whole. More hosts in a row, lost over the same items, are
no accident: an item may take its whole host with it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a lost chunk: `again` is sent once more, `condemned` become failed items of kind `error`."""

    again: list[Chunk] = field(default_factory=list)
    condemned: list[Chunk] = field(default_factory=list)
    strike: bool = False
    reason: str = ""


@dataclass(slots=True)
class _Death:
    at: float
    host: str
    worker: str
    layer: int
    start: int
    stop: int
    chunk: ref[Chunk]
    """Not kept alive: its items are nobody's any more once it is cut or committed."""

    def overlaps(self, other: _Death) -> bool:
        return self.layer == other.layer and self.start < other.stop and other.start < self.stop


class Losses:
    """Remembers the latest deaths, to tell a poison item from a lost host."""

    def __init__(self) -> None:
        self._deaths: deque[_Death] = deque()

    def judge(self, chunk: Chunk, lost: WorkerLost, now: float, workers: Sequence[WorkerInfo]) -> Verdict:
        """The verdict on `chunk`, which was lost at `now` (monotonic seconds)."""
        where = f"worker {lost.worker}" if lost.worker else "its worker"
        if lost.overdue:
            return self._overdue(chunk, lost, where)
        if not lost.started:
            chunk.not_before = now + min(30.0, 0.5 * 2.0 ** min(chunk.sent, 6)) if chunk.sent > 1 else 0.0
            return Verdict([chunk], reason=f"never started: {lost}")
        if not lost.died:
            return Verdict([chunk], reason=f"{where} gave it back: {lost}")
        host = (lost.worker or "").rpartition(":")[0]
        if chunk.hosts_lost < HOSTS and not lost.witnessed and not _heard(lost.worker, host, workers):
            chunk.hosts_lost += 1
            return Verdict([chunk], reason=f"{where} was lost with all of {host or 'its host'}: no item's fault")
        while self._deaths and now - self._deaths[0].at > MASS_SECONDS:
            self._deaths.popleft()
        self._deaths.append(_Death(now, host, lost.worker or "", chunk.layer, chunk.start, chunk.stop, ref(chunk)))
        if chunk.excused < EXCUSES and self._mass(host, now, workers):
            chunk.excused += 1
            return Verdict([chunk], reason=f"{where} was lost together with others on {host or 'its host'}")
        worker = lost.worker or f"unknown {chunk.strikes + 1}"
        if worker not in chunk.died_on:
            chunk.died_on.append(worker)
        return self._struck(chunk, lost, where)

    def _struck(self, chunk: Chunk, lost: WorkerLost, where: str) -> Verdict:
        if chunk.strikes < STRIKES:
            return Verdict([chunk], strike=True, reason=f"{where} died of it, or with it")
        if len(chunk) == 1:
            return Verdict(condemned=[chunk], strike=True, reason=f"{where} died of it, the second process to do so")
        told = f"{where} died of it, the second process to do so: cut to find the item"
        return Verdict(chunk.split(lost.position), strike=True, reason=told)

    def _overdue(self, chunk: Chunk, lost: WorkerLost, where: str) -> Verdict:
        """The item at the reported position ran past its timeout and did not yield; the rest is not to blame."""
        if len(chunk) == 1:
            return Verdict(condemned=[chunk], reason=f"ended {where}, whose item ran past item_timeout")
        at = lost.position if lost.position is not None and lost.position < len(chunk) else None
        if at is None:
            return Verdict(chunk.split(None), reason=f"ended {where}, whose item ran past item_timeout: cut")
        parts = chunk.split(at)
        it = parts.pop(min(at, 1))  # it stands second, unless it is the chunk's first item
        return Verdict(parts, [it], reason=f"ended {where}, whose item ran past item_timeout")

    def _mass(self, host: str, now: float, workers: Sequence[WorkerInfo]) -> bool:
        """More than half of the host's workers died lately; then the strikes of the others are taken back, too.

        Deaths over the same items have one cause, however many processes were started anew to die of it.
        """
        last = self._deaths[-1]
        recent = [death for death in self._deaths if death.host == host]
        others = [death for death in recent if not death.overlaps(last)]
        gone = {last.worker, *(death.worker for death in others)}
        here = {worker.name for worker in workers if worker.host == host and worker.alive} | gone
        if len(gone) < 2 or 2 * len(gone) <= len(here):
            return False
        for death in others:
            chunk = death.chunk()
            if chunk is not None and death.worker in chunk.died_on and chunk.excused < EXCUSES:
                chunk.died_on.remove(death.worker)
                chunk.excused += 1
        return True


def _heard(name: str | None, host: str, workers: Sequence[WorkerInfo]) -> bool:
    """Something of the worker's node, or of its host where no node is known, still gives a sign of life."""
    node = next((worker.node for worker in workers if worker.name == name), "")
    return any(worker.alive and (worker.node == node if node else worker.host == host) for worker in workers)
