"""Workers that die, drain, stall and run things twice, behind a broker that loses, repeats and delays."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from greenlet import greenlet

from manifold.errors import StoreError, WorkerLost
from manifold.protocol.records import WorkerInfo
from manifold.worker import loops
from manifold.worker.alarm import Alarm
from manifold.worker.process import Process
from tests.simulation.model import Killed, Ran
from tests.simulation.store import Shelf
from tests.simulation.timing import SimTimer
from tests.simulation.workers import OVERDUE, Delivery, Run, Worker, WorkerStore, process_of
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.engine import SimEngine


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
        self._sent: dict[str, Delivery] = {}  # by attempt
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
        """An idle worker is replaced: its successor knows no function."""
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
        self._sent[name] = delivery
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

    def give_out_again(self, attempts: Iterable[str]) -> None:
        """The broker has forgotten that these were done, some of them."""
        for delivery in [self._sent[id_] for id_ in attempts if id_ in self._sent and self.world.rng.random() < 0.6]:
            delivery.sender.model.interrupted(delivery.positions)
            again = replace(delivery, future=Future(), echo=True)
            self.world.log(f"{delivery.name} is given out again")
            self.world.later(self.world.rng.random(), lambda one=again: self._queued(one))  # type: ignore[misc]

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
            open_store=lambda _url: WorkerStore(self._shelf, worker, lambda: self._runs[-1] if self._runs else None),
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
            self._later_lost(3.0, delivery, "it does not report", started=True)
        self.world.later(worker.ahead, lambda: end() if worker.busy is delivery else None)

    def _ran(self, run: Run, delivery: Delivery) -> Callable[[], None]:
        """Really run it; what is to happen when its time has passed."""
        self._runs.append(run)
        process = greenlet(partial(process_of, run, delivery))
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
            self._later_lost(3.0, delivery, "it does not report", started=True)
        self.world.later(seconds, lambda: self._deliver(delivery, reply))
        if faults.hits("answer twice", name):
            self.world.later(rng.choice((0.1, 5.0)), lambda: self._stray(delivery, reply))

    def _deliver(self, delivery: Delivery, reply: bytes) -> None:
        if self.world.faults.hits("answer to the coordinator before", delivery.name):
            self._later_lost(3.0, delivery, "its receipt is gone", started=True)
        elif delivery.echo:
            self._stray(delivery, reply)
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
