"""`python -m tests.faults.chaos --seed 1 --minutes 10`: everything at once, at random, for as long as is asked.

Each round is one scatter, on RabbitMQ or Redis by turns, in which several things go wrong at times that the seed draws,
also side by side. How the processes are scheduled is not in the seed's hands, so a round cannot be replayed exactly.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer

from tests.faults import clock
from tests.faults.catalogue import POISON
from tests.faults.cluster import Cluster, Kind, Worker, frozen, full
from tests.faults.hosts import Network, possible
from tests.faults.run import Run
from tests.faults.work import ITEMS

Mishap = tuple[str, Callable[[], AbstractContextManager[object]], float]
"""What it befalls, how, and for how many seconds at the most. Of two that befall the same, the later is left out."""

_SECONDS = 0.004
_WITHIN = 15.0  # seconds from a run's start in which things go wrong


def play(cluster: Cluster, rng: random.Random, name: str, tell: Callable[[str], None]) -> int:
    """One round; how many things went wrong in it. Raises AssertionError where they did harm."""
    poison = POISON if rng.random() < 0.2 else None
    run = Run(cluster, name, seconds=_SECONDS, poison=poison)
    plan = sorted((rng.random() * _WITHIN, rng.random(), rng.random()) for _ in range(rng.randint(2, 6)))
    busy: dict[str, tuple[float, Callable[[], None]]] = {}
    count = 0
    with ExitStack() as stack:
        stack.callback(run.close)
        run.start()
        began = time.monotonic()

        def pass_time() -> bool:
            nonlocal count
            now = time.monotonic() - began
            for what in [what for what, (until, _) in busy.items() if now >= until]:
                tell(f"{now:5.1f} s: over: {what}")
                busy.pop(what)[1]()
            while plan and now >= plan[0][0]:
                _, which, long = plan.pop(0)
                what, begin, most = _one(_mishaps(cluster, run), which)
                if what not in busy:
                    tell(f"{now:5.1f} s: {what}")
                    stack.enter_context(opened := ExitStack()).enter_context(begin())
                    busy[what] = now + long * most, opened.close
                    count += 1
            return run.over

        run.wait(pass_time, 600, "the scatter has succeeded")
        while busy:
            busy.popitem()[1][1]()
        measured = run.examine({poison} if poison is not None else set())
    tell(f"right, after {measured.run:.1f} s and {measured.tries} tries")
    cluster.mend()
    return count


def _one(mishaps: list[Mishap], which: float) -> Mishap:
    return mishaps[int(which * len(mishaps))]


def _mishaps(cluster: Cluster, run: Run) -> list[Mishap]:
    """All that can go wrong here."""
    found: list[Mishap] = [
        ("the broker is killed", cluster.without_broker, 6.0),
        ("PostgreSQL crashes", cluster.without_postgres, 6.0),
        ("the coordinator is killed", lambda: _killed(run), 0.0),
        ("the coordinator stands still", lambda: frozen(run.host), 20.0),
        ("the coordinator stands still, and another begins", lambda: _rival(cluster, run), 45.0),
        ("all workers are killed", lambda: _all_down(cluster), 5.0),
    ]
    for worker in cluster.workers:
        found.append((f"{worker.host.name} is killed or stands still", lambda one=worker: _down(one, {}), 10.0))  # type: ignore[misc]
        found.append((f"{worker.host.name} is killed or stands still", lambda one=worker: frozen(one.host), 30.0))  # type: ignore[misc]
        if clock.lacking() is None:
            begin = lambda one=worker: _down(one, clock.wrong(600))  # noqa: E731
            found.append((f"{worker.host.name} is killed or stands still", begin, 1.0))
    if cluster.network.apart:
        pairs = [
            (cluster.workers[0].host, cluster.broker),
            (cluster.workers[1].host, cluster.database),
            (run.host, cluster.broker),
            (run.host, cluster.database),
        ]
        for one, other in pairs:
            cut = lambda one=one, other=other: cluster.network.cut(one, other)  # noqa: E731
            found.append((f"the network between {one.name} and {other.name} is cut", cut, 40.0))
        folder = cluster.workers[2].folder
        found.append((f"the disk of {cluster.workers[2].host.name} is full", lambda: full(folder), 10.0))
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


@contextmanager
def _all_down(cluster: Cluster) -> Iterator[None]:
    for worker in cluster.workers:
        worker.kill()
    yield
    for worker in cluster.workers:
        if not worker.up:
            worker.start()


def main(
    seed: Annotated[int, typer.Option(help="draws what goes wrong, and when")] = 1,
    minutes: Annotated[float, typer.Option(help="no round begins after that")] = 10.0,
) -> None:
    """Let everything go wrong at random."""
    folder, end = Path(mkdtemp(prefix="manifold-chaos-", dir="/var/tmp")), time.monotonic() + 60 * minutes
    print(f"seed {seed}, {minutes:g} minutes; hosts: {possible() or 'network namespaces'}; logs in {folder}")
    rng, rounds, faults = random.Random(seed), 0, 0
    kinds: tuple[Kind, ...] = ("rabbitmq", "redis")
    with ExitStack() as stack:
        clusters = []
        for kind in kinds:
            network = stack.enter_context(Network(apart=possible() is None))
            clusters.append(stack.enter_context(Cluster(kind, folder / kind, network, 10.0)))
        while time.monotonic() < end:
            cluster = clusters[rounds % len(clusters)]
            rounds += 1
            print(f"round {rounds}, {cluster.kind}")
            faults += play(cluster, rng, f"round-{rounds}", lambda text: print(f"  {text}", flush=True))
    print(f"{rounds} rounds of {ITEMS:,} items, {faults} faults: 0 items lost, 0 counted twice, 0 wrong")


if __name__ == "__main__":
    typer.run(main)
