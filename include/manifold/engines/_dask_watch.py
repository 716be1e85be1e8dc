"""What becomes of the workers of a Dask cluster, for the desk that sends them calls.

The scheduler's list of workers has their signs of life as metrics; it is looked at every 0.4 s, and at once when Dask
tells that a worker is gone.
"""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from typing import Any

from distributed import LocalCluster

from manifold.engines import _dask_worker as at_worker
from manifold.engines._dask_link import Link, LinkBroken
from manifold.engines._dask_roster import Roster
from manifold.engines._desk import Desk, Node, worker_name
from manifold.engines._remote.place import Place
from manifold.errors import EngineError, WireError

_LOOK = 0.4  # seconds between two looks at the cluster, at least
_WORKERS_PER_SECOND = 250  # that are looked at, at most


class Watch:
    """One thread. `start` it when the desk is ready.

    Args:
        engine: its id.
        cluster: one of our own, which ends with this.
    """

    def __init__(self, desk: Desk, engine: str, place: Place, cluster: LocalCluster | None) -> None:
        self._desk, self._place, self._silence = desk, place, place.silence
        self._per_worker = int(place.options.get("per_worker", "1"))
        self._roster = Roster()
        self._due: dict[str, float] = {}  # calls: when the item at hand is overdue, unless its worker says otherwise
        self.connected = True
        self.refused = 0
        self.broken = False  # set where a call could not be sent
        self._ended, self._wake = threading.Event(), threading.Event()
        topics = {at_worker.topic(engine): self._reported, at_worker.NAME: self._reported, "all": self._happened}
        self.link = Link(place, cluster, topics)
        self._thread = threading.Thread(target=self._run, name="manifold-dask", daemon=True)
        self.start = self._thread.start
        self.life = self._roster.life

    @property
    def refused_by_workers(self) -> int:
        return sum(self._roster.refused.values())

    def why_none(self) -> str:
        """Return why no worker takes calls, and what to do."""
        unfit = "; ".join(f"{name}: {why}" for name, why in list(self._roster.unfit.items())[:3])
        return unfit or f"Start one: dask worker {self.link.address} --nthreads 1"

    def end(self) -> None:
        """Watch no longer; close the connection, and a cluster of our own."""
        self._ended.set()
        self._wake.set()
        self._thread.join()
        self.link.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            workers = 0
            try:
                workers = self._look()
                self.connected = True
            except OSError as exc:
                self.connected = False
                if isinstance(exc, LinkBroken):
                    self._begin_again()
            self._wake.wait(max(_LOOK, workers / _WORKERS_PER_SECOND))
            self._wake.clear()

    def _look(self) -> int:
        if self.broken:
            self.broken = False
            raise LinkBroken("a call could not be sent")
        workers, now = self.link.workers(), self._desk.clock()
        for name, witnessed in self._roster.departed(workers, now):
            self._leave_behind(name, f"the Dask worker {name} died", witnessed)
        for name, worker in workers.items():
            if (news := self._roster.present(name, worker, now)) is not None:
                self._heard(*news)
                trouble = "" if worker["status"] == "running" else f"Dask says that it is {worker['status']}"
                slots = min(worker["nthreads"], self._per_worker)
                pulse = news[1]
                self._desk.seen(name, Node(pulse.host, (pulse.pid,), slots, trouble=trouble))
        self._end_overdue()
        return len(workers)

    def _begin_again(self) -> None:
        """Everything under way went with the connection, and nobody died of it: workers end with their scheduler."""
        for call in self._desk.held():
            call.excused = True
        for name in self._roster.all():
            self._desk.gone(name, f"the Dask scheduler at {self._place} is away")
        with suppress(EngineError):
            self.link.open_again()

    def _leave_behind(self, name: str, why: str, witnessed: bool) -> None:
        handles = [call.handle for call in self._desk.held() if call.node == name and call.handle is not None]
        self._desk.gone(name, why, witnessed=witnessed)
        self.link.soon(self.link.forget, handles)

    def _happened(self, event: Any) -> None:
        """Of all that Dask tells: a worker is gone, so look at once."""
        if isinstance(event[1], dict) and event[1].get("action") == "remove-worker":
            self._wake.set()

    def _reported(self, event: Any) -> None:
        try:
            number, pulse = at_worker.opened(event[1])
        except WireError:
            self.refused += 1
            return
        self._heard(number, pulse)

    def _heard(self, number: int, pulse: at_worker.Pulse) -> None:
        if not self._roster.newer(number, pulse):
            return
        worker, now = worker_name(pulse.host, pulse.pid), self._desk.clock()
        if pulse.leaving and (node := self._roster.name(pulse.life)):
            for call in self._desk.held():
                call.excused |= call.node == node
        for running in pulse.calls:
            left = math.inf if running.left is None else running.left
            self._due[running.call] = now + left + self._silence if left > 0 else now
            self._desk.begun(running.call, worker, running.position, overdue=left <= 0)

    def _end_overdue(self) -> None:
        """End what runs past its timeout: as its worker says, or when that has said nothing since, for it cannot."""
        now, held = self._desk.clock(), self._desk.held()
        self._due = {call.id: self._due[call.id] for call in held if call.id in self._due}
        for call in held:
            if self._due.get(call.id, math.inf) <= now and not call.unwanted:
                call.overdue = call.unwanted = True
                self._desk.stop(call)
