"""What goes wrong, one function each: it starts a run, breaks something in the midst of it, and repairs it again.

`FAULTS` has them by name. Each says on which clusters it can happen, whether it needs hosts of their own, and on which
clusters CI tries it: short ones, each somewhere. `make faults` tries all of them everywhere.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from manifold.demo.process import kill_all
from tests.faults import clock
from tests.faults.cluster import Cluster, Kind, frozen, full, small_disk
from tests.faults.hosts import possible
from tests.faults.mixture import Mixture
from tests.faults.run import Measured, Run
from tests.remote.middles import MIDDLES

POISON = 13_337
_MIDST = 0.3
"""The share of the items that is done when the fault begins."""
_CELERY: tuple[Kind, ...] = ("rabbitmq", "redis")
_REMOTE: tuple[Kind, ...] = tuple(f"{scheme}://" for scheme in MIDDLES)
_ELSEWHERE: tuple[Kind, ...] = (*_CELERY, *_REMOTE)
_ALL: tuple[Kind, ...] = (*_ELSEWHERE, "processes")
_LEASE = 30.0

Play = Callable[[Run], None]


@dataclass(frozen=True)
class Fault:
    """One way to break a cluster.

    Args:
        kinds: the clusters it can happen to.
        ci: those on which CI tries it.
        apart: it needs hosts of their own.
        disk: results go to a shared folder on a small disk.
        failed: the items that fail by it.
        clock: it needs wrong clocks.
        borne: others do the work while it lasts.
    """

    name: str
    play: Play
    kinds: tuple[Kind, ...]
    ci: tuple[Kind, ...] = ()
    apart: bool = False
    disk: bool = False
    failed: set[int] = field(default_factory=set)
    clock: bool = False
    borne: bool = False

    def lacks(self) -> str | None:
        """Why this machine cannot try it, as a clause; None if it can."""
        if self.apart and (why := possible()) is not None:
            return why
        return clock.lacking() if self.clock else None


FAULTS: dict[str, Fault] = {}


def _fault(name: str, kinds: tuple[Kind, ...] = _ELSEWHERE, **more: Any) -> Callable[[Play], Play]:
    def enter(play: Play) -> Play:
        FAULTS[name] = Fault(name, play, kinds, **more)
        return play

    return enter


@_fault("nothing", _ALL)
def _nothing(run: Run) -> None:
    run.start()


# -- processes that are killed -----------------------------------------------------------------------------------------


@_fault("kill -9 of a worker process", _ALL, ci=("redis", "processes"))
def _process(run: Run) -> None:
    with _midst(run, lasts=False):
        kill_all(_workers(run)[:1])


@_fault("kill -9 of all worker processes", ("processes",), ci=("processes",))
def _processes(run: Run) -> None:
    with _midst(run, lasts=False):
        kill_all(_workers(run))


@_fault("kill -9 of a worker's main process")
def _main(run: Run) -> None:
    with _midst(run, lasts=False):
        os.kill(run.cluster.workers[0].main(), signal.SIGKILL)


@_fault("kill -9 of a chunk worker", ci=("rabbitmq", *_REMOTE))
def _worker(run: Run) -> None:
    with _midst(run, lasts=False):
        run.cluster.workers[0].kill()


@_fault("kill -9 of all chunk workers, started again after 3 s", ci=("redis",))
def _workers_all(run: Run) -> None:
    with _midst(run):
        for worker in run.cluster.workers:
            worker.kill()
        run.last(3)
        for worker in run.cluster.workers:
            worker.start()


@_fault("a chunk worker's host loses its power", ci=("rabbitmq",), apart=True)
def _power(run: Run) -> None:
    worker = run.cluster.workers[0]
    run.start()
    run.reach(_MIDST)
    with run.cluster.network.unplugged(worker.host):  # so nobody is told that its connections are closed
        with run.fault(lasts=False):
            worker.kill()
        run.finish()


@_fault("kill -9 of the coordinator", _ALL, ci=("rabbitmq", "processes"))
def _coordinator(run: Run) -> None:
    with _midst(run, lasts=False):
        run.kill()


@_fault("the coordinator's host is lost, another takes over", _ALL, apart=True)
def _host(run: Run) -> None:
    run.start()
    run.reach(_MIDST)
    with run.cluster.network.unplugged(run.host):
        with run.fault(lasts=False):
            run.host.kill()
        run.start(run.cluster.spare)
        run.last(1)


@_fault("kill -9 of the broker, started again after 3 s", ci=_ELSEWHERE)
def _broker(run: Run) -> None:
    with _midst(run), run.cluster.without_broker():
        run.last(3)


@_fault("PostgreSQL crashes, started again after 3 s", _ALL, ci=("rabbitmq",))
def _postgres(run: Run) -> None:
    with _midst(run), run.cluster.without_postgres():
        run.last(3)


# -- processes that stand still ----------------------------------------------------------------------------------------


@_fault("SIGSTOP of a chunk worker, longer than its silence is borne", ci=("redis", "tcp://"))
def _frozen(run: Run) -> None:
    with _midst(run), run.cluster.workers[0].frozen():
        run.last(run.cluster.silence + 4)


@_fault("SIGSTOP of the coordinator, longer than its lease; another takes over; it comes back", _ELSEWHERE, apart=True)
def _frozen_coordinator(run: Run) -> None:
    with _midst(run), frozen(run.host):
        run.start(run.cluster.spare)
        run.last(_LEASE + 4)


# -- networks that are cut ---------------------------------------------------------------------------------------------


def _cut(one: str, other: str, seconds: float, run: Run) -> None:
    hosts = {host.name: host for host in run.cluster.hosts}
    with _midst(run), run.cluster.network.cut(hosts[one], hosts[other]):
        run.last(seconds)


for _one, _other, _kinds, _ci in (
    ("worker1", "broker", _ELSEWHERE, _ELSEWHERE),
    ("worker1", "database", _ELSEWHERE, ()),
    ("coordinator", "broker", _ELSEWHERE, ("tcp://",)),
    ("coordinator", "database", _ALL, ("redis",)),
):
    for _seconds in (5, 90):
        _fault(
            f"the network between {_one} and {_other} is cut for {_seconds} s",
            _kinds,
            ci=_ci if _seconds == 5 else (),
            apart=True,
            borne=_one == "worker1" and _seconds == 90,
        )(partial(_cut, _one, _other, _seconds))


# -- disks, clocks, items ----------------------------------------------------------------------------------------------


@_fault("the disk of the shared folder is full for 5 s", _ALL, ci=("rabbitmq",), apart=True, disk=True)
def _full_store(run: Run) -> None:
    with _midst(run), full(disk_of(run.cluster)):
        run.last(5)


@_fault("the disk of a worker is full: its logs and temporary files", ci=("rabbitmq",), apart=True)
def _full_worker(run: Run) -> None:
    with full(run.cluster.workers[0].folder):
        run.start()
        run.finish()


@_fault("the clock of a worker is 10 minutes ahead", ci=("redis", "tcp://"), clock=True)
def _worker_clock(run: Run) -> None:
    worker = run.cluster.workers[0]
    worker.kill()
    worker.start(clock.wrong(600))
    run.cluster.repair()
    run.start()
    run.finish()
    worker.kill()


@_fault("the clock of the coordinator is 10 minutes behind", _ALL, ci=("processes",), clock=True)
def _coordinator_clock(run: Run) -> None:
    run.environment = clock.wrong(-600)
    with _midst(run, lasts=False):
        run.kill()  # the next one reads what this one has written


@_fault("an item that kills its process", _ALL, ci=("rabbitmq", "tcp://"), failed={POISON})
def _poison(run: Run) -> None:
    run.start()


@_fault("several of these at random", ci=("redis", "tcp://"))
def _several(run: Run) -> None:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    Mixture(run, random.Random(seed), print)()


def disk_of(cluster: Cluster) -> Path:
    """Where the shared folder's small disk is."""
    return cluster.folder / "shared"


@contextmanager
def _midst(run: Run, *, lasts: bool = True) -> Iterator[None]:
    run.start()
    run.reach(_MIDST)
    with run.fault(lasts=lasts):
        yield


def _workers(run: Run) -> list[psutil.Process]:
    """The processes that run chunks now."""
    if run.cluster.workers:
        return [one for worker in run.cluster.workers for one in psutil.Process(worker.main()).children()]
    return run.chunk_processes()


def play(cluster: Cluster, fault: Fault, name: str, seconds: float) -> Measured:
    """What the fault cost a run of items that take so many seconds each. Raises AssertionError where it did harm."""
    with ExitStack() as stack:
        store = ""
        if fault.disk:
            stack.enter_context(small_disk(disk_of(cluster), "size=16m"))
            store = f"{disk_of(cluster).as_uri()}?shared=true"
        run = Run(cluster, name, seconds=seconds, store=store, poison=POISON if fault.failed else None)
        stack.callback(run.close)
        fault.play(run)
        run.finish()
        measured = run.examine(fault.failed)
        assert not fault.borne or measured.whole < measured.lasted, f"nobody took over while it lasted: {measured}"
        return measured
