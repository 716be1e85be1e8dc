"""`python -m tests.faults.chaos --seed 1 --minutes 10`: everything at once, at random, for as long as is asked.

Each round is one scatter, on RabbitMQ or Redis by turns, in which several things go wrong at times that the seed draws.
How the processes are scheduled is not in the seed's hands, so a round cannot be replayed exactly.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import typer

from tests.faults.catalogue import POISON
from tests.faults.cluster import Cluster, Kind
from tests.faults.hosts import Network, possible
from tests.faults.mixture import Mixture
from tests.faults.run import Run
from tests.faults.work import ITEMS

_SECONDS = 0.004


def _round(cluster: Cluster, rng: random.Random, name: str) -> int:
    """How many things went wrong in one scatter. Raises AssertionError where they did harm."""
    failed = {POISON} if rng.random() < 0.2 else set[int]()
    with closing(Run(cluster, name, seconds=_SECONDS, poison=POISON if failed else None)) as run:
        faults = Mixture(run, rng, _say)()
        measured = run.examine(failed)
    _say(f"right, after {measured.run:.1f} s and {measured.tries} tries")
    cluster.repair()
    return faults


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


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
            faults += _round(cluster, rng, f"round-{rounds}")
    print(f"{rounds} rounds of {ITEMS:,} items, {faults} faults: 0 items lost, 0 counted twice, 0 wrong")


if __name__ == "__main__":
    typer.run(main)
