"""A worker process of the simulation: what runs in it, by its own clock, and how it ends.

Its code is the real one, from the message to the answer. What stands for the rest of the system is this:

* A chunk runs in one go, in a greenlet, and takes effect when its time has passed.
* Time passes where an item says that it takes some, where the worker waits, and in the event loop, which waits for
  nothing else. The alarm of `item_timeout` rings in the midst of an item, as a signal does.
* That an item goes on after its alarm, or that no alarm can ring (outside the main thread), is the worker's or the
  item's nature here. Whoever keeps watch then ends the process, as soon as the deadline that the real code tells has
  passed, and tells where the real code has reported it to be. The engines' own watches are not part of it:
  `engines/processes` and `engines/celery/heartbeat.py` are tested on real processes, and `celery.py` here judges
  Celery's losses.
* A death ends it where it stands, in the midst of its event loop, too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self

from greenlet import getcurrent

from manifold.abc import Store
from manifold.errors import BlobNotFound, ConfigError, StoreError
from manifold.protocol import envelope
from manifold.protocol.blob_keys import checked
from manifold.worker import beat
from manifold.worker import process as processes
from manifold.worker.loops import ThreadLoop
from manifold.worker.process import Process
from manifold.worker.run import run_chunk
from tests.simulation import work
from tests.simulation.model import Killed, Model, Ran, position
from tests.simulation.store import Shelf
from tests.simulation.timing import SimLoop, SimTimer, left_behind
from tests.simulation.work import Given
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.engine import SimEngine


OVERDUE = "an item did not end"
LONGEST_PAUSE = 5.0  # between two looks at a store that is away


@dataclass(eq=False)
class Delivery:
    """A message on its way, and whoever waits for what comes of it."""

    sender: SimEngine
    header: envelope.Header
    message: bytes
    future: Future[bytes]
    positions: range
    echo: bool = False  # given out once more by the broker, when nobody waits for it any more

    @property
    def name(self) -> str:
        return self.header.attempt


@dataclass(eq=False)
class Worker:
    """A worker process. `ahead` is how far the chunk at hand has moved its clock."""

    host: str
    world: World
    begin: float  # of its clock
    patience: float  # with the store
    process: Process = field(init=False)
    alive: bool = True
    busy: Delivery | None = None
    ahead: float = 0.0
    timer: SimTimer | None = None  # None where the items run in no main thread, so that no alarm rings
    loop: ThreadLoop | None = None
    waits: tuple[str, float] | None = None  # for the store: with what, and since when
    met: dict[str, int] = field(default_factory=dict)  # uid → the newest epoch that a message was of

    def monotonic(self) -> float:
        return self.begin + self.world.now + self.ahead

    def pass_time(self, seconds: float) -> None:
        """Time passes for this process; its alarm may ring meanwhile, in the midst of what runs."""
        if self.timer is not None and self.timer.due is not None and self.timer.due <= self.monotonic() + seconds:
            self.ahead += max(0.0, self.timer.due - self.monotonic())
            self.timer.ring()
        self.ahead += seconds

    def sleep(self, seconds: float) -> None:
        """Between items, where no alarm is set."""
        self.ahead += seconds

    def thread_loop(self) -> ThreadLoop:
        """The event loop of the thread that it runs chunks in."""
        if self.loop is None:
            idle = partial(self.world.fail, f"{self.process.name} waits for something that never comes")
            self.loop = ThreadLoop(SimLoop(self.monotonic, self.sleep, idle))
            self.world.at_end.append(self.loop.close)
        return self.loop

    def meets(self, delivery: Delivery) -> None:
        """A message comes. A process remembers as many scatters as it has room for."""
        uid, epoch = delivery.header.uid, delivery.sender.epoch
        self.met[uid] = max(self.met.pop(uid, 0), epoch)
        for other in list(self.met)[: -vars(processes)["_SCATTERS_KEPT"]]:
            del self.met[other]


@dataclass(eq=False)
class Run:
    """One execution at work. Its chunk is run in one go, and takes effect when its time has passed."""

    cluster: Cluster
    model: Model
    worker: Worker
    ran: Ran
    dies_at: int | None
    drains_at: int | None
    puts: list[tuple[str, bytes]] = field(default_factory=list)
    begun: set[int] = field(default_factory=set)
    reported: int | None = None  # how far the process is, as whoever keeps watch knows it
    dead: bool = False

    def call(self, item: object, given: Given) -> Any:
        """What the item does, this time."""
        pos = self._begins(item, given)
        seconds = self.model.starts_with(self.ran, pos)
        if seconds is not None and self.ran.timeout is not None:
            self._takes_too_long(pos, item, seconds)
        self.worker.pass_time(seconds or self.cluster.seconds)
        return self._goes_on(pos, item)

    async def call_async(self, item: object, given: Given) -> Any:
        """The same, while other items of the chunk go on."""
        pos = self._begins(item, given)
        seconds, began = self.model.starts_with(self.ran, pos), self.worker.monotonic()
        limit = self.ran.timeout if self.ran.timeout is not None else math.inf
        try:
            if seconds is not None and self.model.is_deaf(pos):
                self.worker.pass_time(seconds)  # nothing else runs meanwhile, and nothing interrupts it
            else:
                await asyncio.sleep(seconds or self.cluster.seconds)
                if (seconds or 0.0) > limit:
                    self.cluster.world.fail(f"item {pos} runs for {seconds} s, and may for {limit}")
        except asyncio.CancelledError:
            if self.dead or self.cluster.world.ended:
                raise
            if self.worker.monotonic() - began < limit - 1e-6:
                self.cluster.world.fail(f"item {pos} is interrupted before its time")
            self.cluster.world.crossed["an item that awaits is interrupted"] += 1
            self.model.interrupts(self.ran, pos, item)
            raise
        return self._goes_on(pos, item)

    def _begins(self, item: object, given: Given) -> int:
        if self.dead:
            raise RuntimeError("nothing runs in a process that is dead")
        pos = position(item)
        if self.ran.epoch < self.worker.met[self.ran.uid]:
            self.cluster.world.fail(
                f"{self.ran.attempt} is of epoch {self.ran.epoch}, and its worker has met a newer one"
            )
        if given != self.ran.given:
            self.cluster.world.fail(f"{self.ran.attempt} runs with {given}, and was sent with {self.ran.given}")
        self.cluster.starts.append((self.ran, pos, self.cluster.world.now + self.worker.ahead))
        self.begun.add(pos)
        return pos

    def _goes_on(self, pos: int, item: object) -> Any:
        if self.dead:
            raise RuntimeError("nothing runs in a process that is dead")
        if self.dies_at is not None and len(self.begun) > self.dies_at:
            self._die("the machine takes it")
        if self.drains_at is not None and len(self.begun) > self.drains_at:
            beat.current().stop()
        print(f"{pos} says that it runs")
        try:
            return self.model.execute(self.ran, pos, item)
        except Killed as exc:
            self._die(str(exc))

    def _takes_too_long(self, pos: int, item: object, seconds: float) -> None:
        """Its alarm interrupts it; where it does not listen, or no alarm can ring, whoever keeps watch ends all."""
        worker, world, limit = self.worker, self.cluster.world, self.ran.timeout
        self.model.interrupts(self.ran, pos, item)
        if worker.timer is not None and not self.model.is_deaf(pos):
            world.crossed["an alarm interrupts an item"] += 1
            worker.pass_time(seconds)
            world.fail(f"item {pos} runs for {seconds} s, and no alarm rings after {limit}")
        with suppress(BaseException):
            worker.pass_time(limit or 0.0)
        deadline = beat.current().deadline()
        if deadline is None or deadline < worker.monotonic():
            world.fail(f"item {pos} listens to no alarm, and is to be ended at {deadline}")
        worker.ahead += deadline - worker.monotonic() + 0.1
        self.model.ends_process(self.ran, pos)
        world.crossed["a process is ended over an item that does not end"] += 1
        self._die(OVERDUE)

    def _die(self, why: str) -> NoReturn:
        """The process ends where it stands. No code of it runs any more, not even a handler that catches everything."""
        self.dead = True
        here = getcurrent()
        assert here.parent is not None
        self.cluster.world.at_end.append(here.throw)
        with left_behind():
            here.parent.switch(Killed(why))
        raise RuntimeError("the seed is over, and what was left of this process is unwound")


def process_of(run: Run, delivery: Delivery) -> bytes:
    """What a worker process does with a message."""
    work.at_hand.set(run)
    with beat.calling(delivery.name) as call:
        call.report = lambda: setattr(run, "reported", call.position())
        return run_chunk(delivery.message, run.worker.process)


class WorkerStore(Store):
    """The store in a worker: what it puts is there when the chunk is through."""

    def __init__(self, shelf: Shelf, worker: Worker, at_work: Callable[[], Run | None]) -> None:
        self._shelf = shelf
        self._worker = worker
        self._at_work = at_work
        self.max_bytes = shelf.max_bytes  # type: ignore[misc]

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        raise ConfigError("a simulated store has no URL")

    def put(self, key: str, value: bytes) -> None:
        world = self._shelf.world
        self._check("put fails", key)
        run = self._at_work()
        if run is not None:  # else it is unwound
            run.puts.append((checked(key), value))
            if world.faults.hits("put fails, and took effect", key):
                self._fails("put fails", key)
        self._answers()

    def get(self, key: str) -> bytes:
        self._check("get fails", key)
        self._answers()
        if key not in self._shelf.blobs:
            raise BlobNotFound(f"there is no {key}")
        return self._shelf.blobs[key]

    def delete(self, key: str) -> None:
        raise AssertionError("a worker deletes nothing")

    def keys(self, prefix: str = "") -> Iterator[str]:
        raise AssertionError("a worker lists nothing")

    def _check(self, fault: str, key: str) -> None:
        """It is away until a moment of the world, and the worker comes to it by its own clock."""
        world, worker = self._shelf.world, self._worker
        if world.faults.hits("store goes away", key):
            self._shelf.away_until = world.now + worker.ahead + world.rng.choice((1.0, 8.0, 90.0))
        if world.now + worker.ahead < self._shelf.away_until or world.faults.hits(fault, key):
            self._fails(fault, key)

    def _fails(self, fault: str, key: str) -> NoReturn:
        worker = self._worker
        if worker.waits is None or worker.waits[0] != f"{fault} {key}":
            worker.waits = f"{fault} {key}", worker.monotonic()
        if (waited := worker.monotonic() - worker.waits[1]) > worker.patience + LONGEST_PAUSE:
            text = f"{worker.process.name} waits {waited:.1f} s for the store, and is to for {worker.patience}"
            self._shelf.world.fail(text)
        raise StoreError("the store does not answer")

    def _answers(self) -> None:
        self._shelf.world.crossed["a worker waits for the store, and it comes back"] += self._worker.waits is not None
        self._worker.waits = None
