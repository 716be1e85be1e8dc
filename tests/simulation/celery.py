"""Where losses are really judged: Celery's own `InFlight`, `Nodes`, `Inbox` and `PoolState` under a simulated clock.

Beats come late, twice, in a wrong order or never; the broker restarts, with or without its queue; processes die, whole
hosts die, hosts fall silent and come back; the coordinator stands still. The same seed does the same things.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from unittest import mock

from manifold.engines.celery import messages as ms
from manifold.engines.celery import pool_state
from manifold.engines.celery.calls import InFlight, Sent
from manifold.engines.celery.inbox import Inbox
from manifold.engines.celery.nodes import Nodes
from manifold.engines.celery.pool_state import PoolState
from manifold.errors import WorkerLost
from tests.simulation.world import World

ME = "c" * 32
SILENCE = 10.0
_QUEUE = "calls"
_CALM = 60.0  # seconds after which a trouble explains nothing any more: silence, and what stood still meanwhile
_TROUBLES = ("process", "process", "host", "silence", "broker", "queue", "twice", "deaf", "nothing")


@dataclass(eq=False)
class Process:
    """A process of a pool, in its place; `call` is what it runs."""

    pid: int
    place: int
    alive: bool = True
    call: str | None = None
    position: int = 0


@dataclass(eq=False)
class Host:
    """A Celery worker: a main process with its pool."""

    name: str
    processes: list[Process]
    pool_state: PoolState = field(default_factory=PoolState)
    alive: bool = True
    silent_until: float = 0.0
    held: set[str] = field(default_factory=set)


class Deployment:
    """One seed: a coordinator's calls on some hosts, behind one broker.

    Args:
        calm: nothing goes wrong, so nothing may be called lost.
    """

    def __init__(self, world: World, *, calm: bool) -> None:
        self._world, self._rng, self._calm = world, world.rng, calm
        self._flight, self._nodes = InFlight(SILENCE), Nodes(_QUEUE)
        self._inbox = Inbox(ME, self._flight, self._nodes, lambda _call, _cancelled: None, set())
        self._queue: deque[str] = deque()
        self._sealed: dict[str, str] = {}
        self._mail: list[ms.Message] = []
        self._pids = iter(range(100, 100_000))
        self._away_until = self._deaf_until = 0.0
        self._quiet: list[float] = []  # when beats were late, or never came
        self._broken: list[float] = []  # when the broker was away
        self._here: Process | None = None
        self._noisy = self._rng.random() < 0.3  # beats are late, doubled and lost
        self._troubles = self._rng.sample(_TROUBLES, 3)
        self._dead: dict[str, int] = {}  # worker → how many items of its call were done when it died
        self._hosts = [self._host(f"host{number}") for number in range(self._rng.choice((1, 2, 3)))]
        self.left = self._rng.choice((5, 12, 25))
        self.answered = 0
        self.lost: list[WorkerLost] = []
        self.until = 0.0 if calm else self._rng.choice((20.0, 90.0))
        """When the troubles are over."""

    def run(self) -> None:
        """All calls are answered, however often they had to be sent."""
        with mock.patch.multiple(
            pool_state, os=SimpleNamespace(getpid=lambda: self._now_at().pid), _ROWS=16, _place=self._place
        ):
            for what, pause in ((self._submit, 0.1), (self._beat, ms.BEAT), (self._fetch, 0.1)):
                self._every(pause, what)
            for host in self._hosts:
                self._every(ms.BEAT, lambda host=host: self._announce(host))  # type: ignore[misc]
            if not self._calm:
                self._every(self._rng.choice((2.0, 5.0)), self._trouble)
            self._world.run(lambda: not self.left and not self._flight.all())

    # -- the coordinator ---------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        calls = [call for call in self._flight.all() if not call.probe]
        room = 2 * max(1, self._nodes.slots(self._flight.now)) - len(calls)
        for _ in range(min(room, self.left)):
            self.left -= 1
            self._send(Sent(self._world.new_id(), Future(), ME))

    def _send(self, call: Sent) -> None:
        self._flight.add(call)
        self._inbox.watch(call)
        self._sealed[call.id] = ms.seal_call(ME, call.id, len, (call.id,), {})
        call.future.add_done_callback(lambda done: self._over(call, done))
        if self._world.now >= self._away_until:
            self._queue.append(call.id)
            self._flight.sent(call.id)
        else:
            self._world.later(self._away_until - self._world.now, lambda: self._sent_late(call))

    def _sent_late(self, call: Sent) -> None:
        self._queue.append(call.id)
        self._flight.sent(call.id)

    def _beat(self) -> None:
        """The sender's thread speaks to itself, and asks after what has waited long."""
        if self._world.now >= self._deaf_until:
            self._say(ms.Echo(ME))
            if self._flight.wants_probe():
                self._send(Sent(self._world.new_id(), Future(), ME, probe=True))

    def _listen(self) -> None:
        if self._world.now < self._deaf_until:
            self._world.later(self._deaf_until - self._world.now, self._listen)
            return
        mail, self._mail = self._mail, []
        for message in mail:
            self._inbox.heard(message)

    def _over(self, call: Sent, done: Future[int]) -> None:
        if call.probe:
            return
        error = done.exception()
        if error is None:
            self.answered += 1
            if done.result() != len(call.id):
                self._world.fail(f"call {call.id} is answered with {done.result()}")
            return
        if not isinstance(error, WorkerLost):
            self._world.fail(f"call {call.id} ends with {error!r}")
        self.left += 1
        self.lost.append(error)
        self._world.log(f"{error} started={error.started} died={error.died} worker={error.worker}")
        self._judge(error)

    def _judge(self, lost: WorkerLost) -> None:
        """A death is reported of a process that died, or of one whose beats did not come.

        A coordinator that stands still, a broker that was away and a second delivery are nobody's death.
        """
        died = lost.worker is not None and lost.worker in self._dead
        quiet = any(self._world.now - at <= _CALM for at in self._quiet)
        broken = any(self._world.now - at <= _CALM for at in self._broken)
        if lost.died and not died and not quiet:
            self._world.fail(f"{lost} is a death, and {lost.worker} lives")
        if lost.witnessed and not died:
            self._world.fail(f"{lost} was seen, and {lost.worker} lives")
        if lost.witnessed and lost.position != self._dead.get(lost.worker or ""):
            self._world.fail(f"{lost} at {lost.position}, and it died at {self._dead.get(lost.worker or '')}")
        here = any(host.name == (lost.worker or "").partition(":")[0] for host in self._hosts)
        if died and here and not lost.witnessed and not quiet and not broken:
            self._world.fail(f"{lost}, and its main process, which saw it die, was not heard")
        if not died and not quiet and not broken:
            self._world.fail(f"{lost}, and nothing had gone wrong that explains it")

    # -- the broker --------------------------------------------------------------------------------------------------

    def _say(self, message: ms.Message, host: Host | None = None) -> None:
        """A message to the coordinator: on its way for a moment, or for long; here never, there twice."""
        now = self._world.now
        if host is not None and now < host.silent_until:
            self._world.later(host.silent_until - now, lambda: self._say(message, host) if host.alive else None)
            return
        if now < self._away_until:
            if isinstance(message, ms.Answered | ms.Died):  # these are told until the broker takes them
                self._world.later(self._away_until - now + 0.1, lambda: self._say(message, host))
            return
        seconds = [0.01 + 0.02 * self._rng.random()]
        beat = isinstance(message, ms.Running | ms.Serving | ms.Started)
        if self._troublesome and self._noisy and beat and self._rng.random() < 0.15:
            seconds = self._rng.choice(([], [3.0], [0.01, 0.5], [6.0]))
            self._quiet.append(now)
        for one in seconds:
            self._world.later(one, lambda: self._arrives(message, now))

    def _arrives(self, message: ms.Message, sent_at: float) -> None:
        if sent_at < self._away_until <= self._world.now and self._lossy(message):
            return  # it was on its way when the broker went down
        self._mail.append(message)
        self._listen()

    @staticmethod
    def _lossy(message: ms.Message) -> bool:
        return not isinstance(message, ms.Answered | ms.Died)

    @property
    def _troublesome(self) -> bool:
        return self._world.now < self.until

    # -- the workers -------------------------------------------------------------------------------------------------

    def _host(self, name: str) -> Host:
        return Host(name, [Process(next(self._pids), place) for place in range(1, 1 + self._rng.choice((1, 2, 4)))])

    def _fetch(self) -> None:
        if self._world.now < self._away_until:
            return
        for host in self._hosts:
            for process in host.processes:
                ready = host.alive and process.alive and process.call is None and host.silent_until <= self._world.now
                if ready and self._queue:
                    self._begin(host, process, self._queue.popleft())

    def _begin(self, host: Host, process: Process, call: str) -> None:
        worker = ms.worker_name(host.name, process.pid)
        process.call, process.position = call, 0
        host.held.add(call)
        self._world.log(f"{worker} begins {call}")
        self._say(ms.Started(call, worker), host)
        with self._at(process):
            before = host.pool_state.begin(call, ME)
        if before is not None:  # the process before it in this place has died, and nobody has told
            told = ms.Died(before.call.decode(), ms.worker_name(host.name, before.pid), before.position)
            self._say(told, host)
        items = self._rng.choice((1, 3, 8, 40))
        self._world.later(0.5, lambda: self._works(host, process, call, items))

    def _works(self, host: Host, process: Process, call: str, items: int) -> None:
        """Half a second of work, which is one item."""
        if not (host.alive and process.alive and process.call == call):
            return
        process.position += 1
        with self._at(process):
            host.pool_state.at(process.position)
        if process.position < items:
            if process.position % 2 == 0:
                self._say(ms.Running(ms.worker_name(host.name, process.pid), {call: process.position}), host)
            self._world.later(0.5, lambda: self._works(host, process, call, items))
            return
        process.call = None
        host.held.discard(call)
        with self._at(process):
            host.pool_state.end()
        opened = ms.Opened(self._sealed[call], call)
        self._say(opened.returned(len(call)), host)

    def _announce(self, host: Host) -> None:
        """What the main process says once a second."""
        if not host.alive:
            return
        living = [process.pid for process in host.processes if process.alive]
        for place, entry in host.pool_state.dead(living):
            self._say(ms.Died(entry.call.decode(), ms.worker_name(host.name, entry.pid), entry.position), host)
            host.held.discard(entry.call.decode())
            host.pool_state.forget(place, entry)
        pid = host.processes[0].pid - 1
        node = f"celery@{host.name}"
        slots = len(host.processes)
        self._say(ms.Serving(node, host.name, pid, [_QUEUE], living, slots, 0, sorted(host.held)), host)

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    def _trouble(self) -> None:
        if not self._troublesome:
            return
        kind = self._rng.choice(self._troubles)
        self._world.log(f"trouble: {kind}")
        host = self._rng.choice(self._hosts)
        happens: dict[str, Callable[[], object]] = {
            "process": lambda: self._process_dies(host),
            "host": lambda: self._host_dies(host),
            "silence": lambda: self._falls_silent(host),
            "broker": lambda: self._broker_restarts(with_queue=False),
            "queue": lambda: self._broker_restarts(with_queue=True),
            "twice": self._redelivers,
            "deaf": lambda: setattr(self, "_deaf_until", self._world.now + self._rng.choice((2.0, 30.0))),
            "nothing": lambda: None,
        }
        happens[kind]()

    def _process_dies(self, host: Host) -> None:
        living = [process for process in host.processes if process.alive]
        if host.alive and living:
            victim = self._rng.choice(living)
            victim.alive = False
            self._dead[ms.worker_name(host.name, victim.pid)] = victim.position
            at = host.processes.index(victim)
            self._world.later(self._rng.choice((0.1, 1.5)), lambda: self._replaced(host, at, victim.place))

    def _replaced(self, host: Host, at: int, place: int) -> None:
        host.processes[at] = Process(next(self._pids), place)

    def _host_dies(self, host: Host) -> None:
        for process in host.processes:
            process.alive = False
            self._dead[ms.worker_name(host.name, process.pid)] = process.position
        host.alive = False
        heir = self._host(f"{host.name}x")
        self._hosts[self._hosts.index(host)] = heir
        self._world.later(self._rng.choice((1.0, 20.0)), lambda: self._every(ms.BEAT, lambda: self._announce(heir)))

    def _falls_silent(self, host: Host) -> None:
        host.silent_until = self._world.now + self._rng.choice((4.0, 15.0, 40.0))
        self._quiet += [self._world.now, host.silent_until]

    def _broker_restarts(self, *, with_queue: bool) -> None:
        self._away_until = self._world.now + self._rng.choice((0.5, 4.0, 20.0))
        self._broken += [self._world.now, self._away_until]
        if with_queue:
            self._queue.clear()
        self._flight.disturb()

    def _redelivers(self) -> None:
        """The broker gives out once more what some process has: whoever gets it does not run it."""
        held = sorted(call for host in self._hosts for call in host.held)
        if held:
            self._say(ms.Redelivered(self._rng.choice(held)))

    # -- the machinery -----------------------------------------------------------------------------------------------

    def _every(self, seconds: float, what: Callable[[], object]) -> None:
        def again() -> None:
            what()
            self._world.later(seconds, again)

        self._world.later(seconds * self._rng.random(), again)

    @contextmanager
    def _at(self, process: Process) -> Iterator[None]:
        """Code of that process runs."""
        self._here = process
        try:
            yield
        finally:
            self._here = None

    def _now_at(self) -> Process:
        assert self._here is not None
        return self._here

    def _place(self) -> int:
        return self._now_at().place * pool_state._ROW.size


def simulate(seed: int, tell: Callable[[str], None] | None = None) -> World:
    """The world of that seed, after its end; raises Violation at the first thing that is wrong."""
    os.environ.setdefault("MANIFOLD_SECRET", f"k1:{'5e' * 32}")
    world = World(seed, tell=tell, focus=(), most_steps=60_000)
    deployment = Deployment(world, calm=random.Random(seed).random() < 0.2)
    deployment.run()
    world.crossed["calls"] += deployment.answered
    world.crossed["losses"] += len(deployment.lost)
    world.crossed["deaths that were seen"] += sum(one.witnessed for one in deployment.lost)
    world.crossed["deaths by silence"] += sum(one.died and not one.witnessed for one in deployment.lost)
    return world
