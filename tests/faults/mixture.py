"""Several things that go wrong in one run, also side by side, drawn by a seed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from tests.faults import clock
from tests.faults.cluster import Cluster, Worker, frozen, full
from tests.faults.run import Run

_WITHIN = 15.0  # seconds from a run's start in which things go wrong


class Mishap(NamedTuple):
    """One thing that can go wrong. Of two at once that befall the same, the later is left out."""

    befalls: str
    what: str
    begin: Callable[[], AbstractContextManager[object]]
    longest: float
    """Seconds."""


_SECONDS = 0.004
_WITHIN = 15.0  # seconds from a run's start in which things go wrong


class Mixture:
    """A run in which several things go wrong. Call it once; it returns how many did, after the scatter's success.

    Args:
        rng: draws them, and when they begin and end.
        tell: is given each line of what happens.
    """

    def __init__(self, run: Run, rng: random.Random, tell: Callable[[str], None]) -> None:
        self._run = run
        self._plan = sorted((rng.random() * _WITHIN, rng.random(), rng.random()) for _ in range(rng.randint(2, 6)))
        self._going: dict[str, tuple[float, str, ExitStack]] = {}
        self._tell = tell
        self._count = 0

    def __call__(self) -> int:
        with ExitStack() as stack:
            stack.callback(self._end, float("inf"))
            self._run.start()
            began = time.monotonic()
            self._run.wait(lambda: self._pass(time.monotonic() - began), 900, "the scatter has succeeded")
        return self._count

    def _pass(self, now: float) -> bool:
        """What is due at this moment; whether the scatter has succeeded."""
        self._end(now)
        while self._plan and now >= self._plan[0][0]:
            _, which, long = self._plan.pop(0)
            mishaps = _mishaps(self._run)
            one = mishaps[int(which * len(mishaps))]
            if one.befalls not in self._going:
                self._tell(f"{now:5.1f} s: {one.what}")
                self._count += 1
                begun = ExitStack()
                begun.enter_context(one.begin())
                self._going[one.befalls] = now + long * one.longest, one.what, begun
        return self._run.over

    def _end(self, now: float) -> None:
        for befalls, (until, what, begun) in list(self._going.items()):
            if now >= until:
                del self._going[befalls]
                begun.close()
                self._tell(f"         over: {what}")


def _mishaps(run: Run) -> list[Mishap]:
    """All that can go wrong here."""
    cluster = run.cluster
    found = [
        Mishap("broker", "the broker is killed", cluster.without_broker, 6.0),
        Mishap("database", "PostgreSQL crashes", cluster.without_postgres, 6.0),
        Mishap("coordinator", "the coordinator is killed", partial(_killed, run), 0.0),
        Mishap("coordinator", "the coordinator stands still", partial(frozen, run.host), 20.0),
        Mishap("coordinator", "it stands still, and another begins", partial(_rival, cluster, run), 45.0),
    ]
    for worker in cluster.workers:
        name = worker.host.name
        found.append(Mishap(name, f"{name} is killed", partial(_down, worker, {}), 10.0))
        found.append(Mishap(name, f"{name} stands still", worker.frozen, 30.0))
        if clock.lacking() is None:
            begin = partial(_down, worker, clock.wrong(600))
            found.append(Mishap(name, f"{name} is killed, and comes back with a wrong clock", begin, 1.0))
    if cluster.network.apart:
        first, second, third = cluster.workers
        pairs = (
            (first.host, cluster.broker),
            (second.host, cluster.database),
            (run.host, cluster.broker),
            (run.host, cluster.database),
        )
        for one, other in pairs:
            what = f"the network between {one.name} and {other.name} is cut"
            found.append(Mishap(what, what, partial(cluster.network.cut, one, other), 40.0))
        found.append(Mishap("disk", f"the disk of {third.host.name} is full", partial(full, third.folder), 10.0))
    return found


@contextmanager
def _killed(run: Run) -> Iterator[None]:
    run.kill()
    yield


@contextmanager
def _rival(cluster: Cluster, run: Run) -> Iterator[None]:
    first = run.host
    with frozen(first):
        run.start(cluster.spare if first is cluster.coordinator else cluster.coordinator)
        yield


@contextmanager
def _down(worker: Worker, more: dict[str, str]) -> Iterator[None]:
    worker.kill()
    yield
    worker.start(more)
