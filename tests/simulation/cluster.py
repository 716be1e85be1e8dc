"""Workers that die, drain, stall and run things twice, behind a broker that loses, repeats and delays."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Self
from unittest import mock

from greenlet import getcurrent, greenlet

from manifold.abc import Store
from manifold.errors import BlobNotFound, ConfigError, StoreError, WorkerLost
from manifold.protocol import wire
from manifold.protocol.records import WorkerInfo
from manifold.stores.keys import checked
from manifold.worker import beat, loops
from manifold.worker import process as processes
from manifold.worker.alarm import Alarm
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
    from tests.simulation.engine import SimEngine

OVERDUE = "an item did not end"
LONGEST_PAUSE = 5.0  # between two looks at a store that is away


@dataclass(eq=False)
class Delivery:
    """A message on its way, and whoever waits for what comes of it."""

    sender: SimEngine
    header: wire.Header
    message: bytes
    future: Future[bytes]
    positions: range

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


class Cluster:
    """The broker and the hosts with their workers, shared by all coordinators."""

    def __init__(
        self,
        world: World,
        shelf: Shelf,
        own: random.Random,
        *,
        hosts: int,
        slots: int,
        seconds: float,
        patience: float,
    ) -> None:
        self.world = world
        self.seconds = seconds
        self.patience = patience
        self._own = own
        self.engines: list[SimEngine] = []
        self.rates_change = False  # somebody has asked for another rate
        self.starts: list[tuple[Ran, int, float]] = []  # in which execution, which item, when
        self._shelf = shelf
        self._queue: deque[Delivery] = deque()
        self._pids = iter(range(100, 1_000_000))
        self._gone: deque[Worker] = deque(maxlen=4)
        self._runs: list[Run] = []
        self._waiting: list[tuple[Delivery, bytes]] = []  # answers in the queues of coordinators that are dead
        self.workers = [self._worker(f"host{at % hosts}") for at in range(slots)]

    # -- what happens to all of it -----------------------------------------------------------------------------------

    def lose_host(self) -> None:
        """All workers of a host die at once."""
        host = self.world.rng.choice(self.workers).host if self.workers else ""
        self.world.log(f"{host or 'no host'} is lost")
        for worker in [one for one in self.workers if one.host == host]:
            if worker.busy is not None:
                self._dies(worker, worker.busy, died=True, witnessed=False)
            else:
                self._replace(worker)

    def lose_queue(self) -> None:
        """The broker has forgotten what nobody had taken yet."""
        self.world.log(f"the queue is lost, with {len(self._queue)} messages")
        for delivery in self._queue:
            self._later_lost(5.0, delivery, "nobody holds it")
        self._queue.clear()

    def delay(self, engine: SimEngine, seconds: float) -> None:
        """What this coordinator has in the queue is delivered later."""
        for delivery in [one for one in self._queue if one.sender is engine]:
            self._queue.remove(delivery)
            self.world.later(seconds, lambda one=delivery: self._queued(one))  # type: ignore[misc]

    def restart(self) -> None:
        """An idle worker is replaced: its successor has never heard of any function."""
        idle = [one for one in self.workers if one.busy is None]
        if idle:
            self._replace(self.world.rng.choice(idle))

    def grow(self) -> None:
        """One more worker joins."""
        self._join(self._worker("host0"))

    def seen(self) -> list[WorkerInfo]:
        """The workers, as an engine tells of them; those that died lately, too."""
        return [
            WorkerInfo(one.process.name, one.host, one.process.pid, alive=one.alive)
            for one in (*self.workers, *self._gone)
        ]

    # -- from a coordinator ------------------------------------------------------------------------------------------

    def accept(self, delivery: Delivery) -> None:
        """A message is on its way."""
        faults, rng, name = self.world.faults, self.world.rng, delivery.name
        seconds = 0.02 + 0.05 * rng.random()
        model = delivery.sender.model
        model.largest = max(model.largest, len(delivery.positions))
        if faults.hits("future cancelled", name):
            delivery.sender.model.interrupted(delivery.positions)
            self.world.later(rng.random(), delivery.future.cancel)
        elif faults.hits("message lost", name):
            self._later_lost(5.0, delivery, "nobody holds it")
        elif faults.hits("message given back", name):
            self._later_lost(0.2, delivery, "it had been delivered before", started=True)
        else:
            if faults.hits("message late", name):
                seconds = rng.choice((4.0, 30.0))
            self.world.later(seconds, lambda: self._queued(delivery))
            if faults.hits("message twice", name):
                delivery.sender.model.interrupted(delivery.positions)
                self.world.later(rng.choice((0.1, 1.0, 20.0)), lambda: self._queued(delivery))

    def stop(self, delivery: Delivery) -> None:
        """Its coordinator wants it no more: at best it is not run."""
        if delivery in self._queue and self.world.rng.random() < 0.7:
            self._queue.remove(delivery)
            self.world.later(0.01, delivery.future.cancel)
        elif self.world.rng.random() < 0.5:
            for worker in self.workers:
                if worker.busy is delivery:
                    self._dies(worker, delivery, died=False)
                    return

    def adopt(self, engine: SimEngine, calls: Collection[str]) -> dict[str, Future[Any]]:
        """Of these, what runs or has an answer that waits: it goes to this coordinator from here on."""
        found: dict[str, Future[Any]] = {}
        faults, waiting = self.world.faults, [one for one in self._waiting if one[0].name in calls]
        for delivery, reply in waiting:
            self._waiting.remove((delivery, reply))
            found[delivery.name] = Future()
            found[delivery.name].set_result(reply)
        for delivery in [one.busy for one in self.workers if one.busy is not None and one.busy.name in calls]:
            if delivery.name in found or faults.hits("worker not heard", delivery.name):
                engine.model.interrupted(delivery.positions)
                continue
            if not delivery.sender.actor.dead:
                self._later_lost(30.0, replace(delivery), "another coordinator hears of it", started=True)
            delivery.sender, delivery.future = engine, Future()
            found[delivery.name] = delivery.future
            engine.holds(delivery.future, delivery)
            self.world.log(f"{engine.actor.name} adopts {delivery.name}")
        for delivery in [one for one in self._queue if one.name in calls and self.world.rng.random() < 0.7]:
            self._queue.remove(delivery)  # the workers were told to drop it
        return found

    # -- a worker ----------------------------------------------------------------------------------------------------

    def _worker(self, host: str) -> Worker:
        worker = Worker(host, self.world, begin=self.world.rng.random() * 1e6, patience=self.patience)
        worker.timer = SimTimer(worker.monotonic) if self._own.random() < 0.7 else None
        worker.process = Process(
            host=host,
            pid=next(self._pids),
            nonce=lambda: self._runs[-1].ran.nonce,
            open_store=lambda _url: _WorkerStore(self._shelf, worker, lambda: self._runs[-1] if self._runs else None),
            monotonic=worker.monotonic,
            sleep=worker.sleep,
            alarm=lambda timeout: Alarm(timeout, monotonic=worker.monotonic, timer=lambda: worker.timer),
            patience=self.patience,
        )
        return worker

    def _replace(self, worker: Worker) -> None:
        worker.alive = False
        self._gone.append(worker)
        self.workers.remove(worker)
        self.world.later(self.world.rng.choice((0.05, 2.0)), lambda: self._join(self._worker(worker.host)))

    def _join(self, worker: Worker) -> None:
        self.workers.append(worker)
        self._pump()

    def _queued(self, delivery: Delivery) -> None:
        self._queue.append(delivery)
        self._pump()

    def _pump(self) -> None:
        for worker in [one for one in self.workers if one.busy is None]:
            while self._queue and worker.busy is None:
                self._start(worker, self._queue.popleft())

    def _start(self, worker: Worker, delivery: Delivery) -> None:
        if delivery.future.cancelled():
            return
        worker.busy, worker.ahead, worker.waits = delivery, 0.0, None
        faults, rng, name = self.world.faults, self.world.rng, delivery.name
        dies = rng.choice(delivery.positions) if faults.hits("worker dies", name) else None
        drains = rng.choice(delivery.positions) if faults.hits("worker drains", name) else None
        if drains is not None:
            delivery.sender.model.interrupted(delivery.positions)
        sender = delivery.sender
        ran = sender.model.begin(
            delivery.header.uid, sender.epoch, name, self.world.new_id(), sender.given, sender.timeout
        )
        worker.meets(delivery)
        self.world.log(f"{worker.process.name} begins {name} [{delivery.positions.start}, {delivery.positions.stop})")
        first = delivery.positions.start
        run = Run(self, delivery.sender.model, worker, ran, dies and dies - first, drains and drains - first)
        end = self._ran(run, delivery)
        if faults.hits("worker is slow", name):
            worker.ahead += 25.0
        if faults.hits("worker was lost, and comes back", name):
            worker.ahead += 6.0
            self._later_lost(3.0, delivery, "nothing is heard of it", started=True)
        self.world.later(worker.ahead, lambda: end() if worker.busy is delivery else None)

    def _ran(self, run: Run, delivery: Delivery) -> Callable[[], None]:
        """Really run it; what is to happen when its time has passed."""
        self._runs.append(run)
        process = greenlet(partial(_process, run, delivery))
        try:
            with mock.patch.object(loops, "here", run.worker.thread_loop):
                ended = process.switch()
        except StoreError as exc:
            error = exc
            self._gives_up(run.worker)
            delivery.sender.model.interrupted(delivery.positions)
            return lambda: self._refused(run, delivery, error)
        finally:
            self._runs.pop()
        if isinstance(ended, Killed):
            if "poison" in str(ended) and self.world.faults.hits("poison takes its coordinator", delivery.name):

                def both_die() -> None:
                    self._dies(run.worker, delivery, died=True)
                    delivery.sender.actor.kill()

                return both_die
            overdue = str(ended) == OVERDUE
            at = run.reported if overdue else len(run.ran.items)
            return lambda: self._dies(run.worker, delivery, died=True, position=at, overdue=overdue)
        return lambda: self._done(run, delivery, ended)

    def _done(self, run: Run, delivery: Delivery, reply: bytes) -> None:
        self._put(run)
        if self.world.faults.hits("worker dies after its put", delivery.name):
            self._dies(run.worker, delivery, died=True, position=len(run.ran.items))
        else:
            self._free(run.worker)
            self._answer(delivery, reply)

    def _put(self, run: Run) -> None:
        for key, value in run.puts:
            self._shelf.put(key, value)

    def _gives_up(self, worker: Worker) -> None:
        """It has waited for the store as long as it is to, by its own clock, and not longer."""
        waited = worker.monotonic() - (worker.waits[1] if worker.waits is not None else worker.monotonic())
        self.world.crossed["a worker gives up on the store"] += 1
        if waited + 1e-6 < self.patience:
            self.world.fail(f"{worker.process.name} waits {waited:.1f} s for the store, and is to for {self.patience}")

    def _refused(self, run: Run, delivery: Delivery, error: StoreError) -> None:
        self._put(run)  # the store failed at the second, perhaps
        self._free(run.worker)
        if not delivery.future.done():
            delivery.future.set_exception(error)

    def _free(self, worker: Worker) -> None:
        worker.busy = None
        self.world.later(0.0, self._pump)

    def _dies(
        self,
        worker: Worker,
        delivery: Delivery,
        *,
        died: bool,
        position: int | None = None,
        witnessed: bool = True,
        overdue: bool = False,
    ) -> None:
        worker.busy = None
        self._replace(worker)
        name = worker.process.name
        self.world.log(f"{name} {'dies of' if died else 'is stopped over'} {delivery.name}")
        known = position if self.world.rng.random() < 0.6 else None
        seconds = self.world.rng.choice((0.1, 3.0))
        facts = {"started": True, "died": died, "position": known, "worker": name, "witnessed": witnessed}
        facts["overdue"] = overdue
        self._later_lost(seconds, delivery, "its worker died", **facts)

    # -- back to a coordinator ---------------------------------------------------------------------------------------

    def _answer(self, delivery: Delivery, reply: bytes) -> None:
        faults, rng, name = self.world.faults, self.world.rng, delivery.name
        seconds = 0.01
        if faults.hits("answer lost", name):
            self._later_lost(3.0, delivery, "its receipt is gone", started=True)
            return
        if faults.hits("answer late", name):
            seconds = rng.choice((5.0, 60.0))
            self._later_lost(3.0, delivery, "nothing is heard of it", started=True)
        self.world.later(seconds, lambda: self._deliver(delivery, reply))
        if faults.hits("answer twice", name):
            self.world.later(rng.choice((0.1, 5.0)), lambda: self._stray(delivery, reply))

    def _deliver(self, delivery: Delivery, reply: bytes) -> None:
        if self.world.faults.hits("answer to the coordinator before", delivery.name):
            self._later_lost(3.0, delivery, "its receipt is gone", started=True)
        elif (delivery.sender.actor.dead or delivery.future.cancelled()) and self.world.rng.random() < 0.7:
            self._waiting.append((delivery, reply))
        elif delivery.future.done() or delivery.sender.actor.dead:
            self._stray(delivery, reply)
        else:
            delivery.future.set_result(reply)

    def _stray(self, delivery: Delivery, reply: bytes) -> None:
        """A receipt that nobody waits for: to its sender, or to whoever has taken over since."""
        living = [one for one in self.engines if not one.actor.dead and one.dispatch is not None]
        if living:
            chosen = delivery.sender if delivery.sender in living else self.world.rng.choice(living)
            done: Future[bytes] = Future()
            done.set_result(reply)
            delivery.sender.model.interrupted(delivery.positions)
            self.world.log(f"a stray receipt of {delivery.name} for {chosen.actor.name}")
            assert chosen.dispatch is not None
            chosen.dispatch.arrive(delivery.name, done)

    def _later_lost(self, seconds: float, delivery: Delivery, why: str, **facts: Any) -> None:
        """The engine says, some time later, that a chunk is lost."""

        def lose() -> None:
            lost = WorkerLost(why)
            vars(lost).update(facts)
            delivery.sender.model.lost(delivery.positions, died=lost.died and not lost.overdue)
            if not delivery.future.done():
                delivery.future.set_exception(lost)

        self.world.later(seconds, lose)


def _process(run: Run, delivery: Delivery) -> bytes:
    """What a worker process does with a message."""
    work.at_hand.set(run)
    with beat.calling(delivery.name) as call:
        call.report = lambda: setattr(run, "reported", call.position())
        return run_chunk(delivery.message, run.worker.process)


class _WorkerStore(Store):
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
                raise StoreError("the store does not answer any more")

    def get(self, key: str) -> bytes:
        self._check("get fails", key)
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
            if worker.waits is None or worker.waits[0] != f"{fault} {key}":
                worker.waits = f"{fault} {key}", worker.monotonic()
            if (waited := worker.monotonic() - worker.waits[1]) > worker.patience + LONGEST_PAUSE:
                world.fail(f"{worker.process.name} waits {waited:.1f} s for the store, and is to for {worker.patience}")
            raise StoreError("the store does not answer")
        if worker.waits is not None:
            world.crossed["a worker waits for the store, and it comes back"] += 1
        worker.waits = None
