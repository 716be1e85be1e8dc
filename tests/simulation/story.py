"""One seed from beginning to end: tries that go wrong in every way, then one for which all goes well."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from unittest import mock

from manifold.abc import Monitor
from manifold.coordinator import start, wiring
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.dispatch import Address, Dispatch
from manifold.errors import ScatterBusy
from manifold.events import ChunkCommitted, ChunkLost, Event, Progress, ScatterStarted
from manifold.ledger import Owner
from manifold.protocol.envelope import Keyring
from manifold.protocol.records import Attempt
from manifold.results.results import Results
from tests.simulation.checks import Checks
from tests.simulation.cluster import Cluster
from tests.simulation.ends import Ends
from tests.simulation.engine import SimEngine
from tests.simulation.mischief import Mischief
from tests.simulation.model import Model
from tests.simulation.setting import Setting, TrySpec
from tests.simulation.small import constants
from tests.simulation.store import Shelf, SimStore
from tests.simulation.world import Actor, SimClock, Violation, World

NAMES = ("flights", "hotels")


class Try:
    """One coordinator at work.

    Args:
        name: of the scatter.
    """

    def __init__(self, story: Story, spec: TrySpec, number: int, name: str) -> None:
        self.spec = spec
        self.stop = threading.Event()
        self.results: Results | None = None
        self.tables = story.checks.now  # as they were when it ended
        self.jobs = story.checks.jobs.begin()
        self.failovers = 0  # of the database, until it ended
        self.plan = spec.plan(story.setting, story.world.faults, self._reading, name)
        self._story = story
        self._number = number
        story.world.log(f"try {number} of {name}: {_shown(spec)}")
        self.actor = Actor(story.world, f"coordinator {number}", self._run)
        story.checks.jobs.specs[self.actor.name] = spec
        adaptive, speculates = spec.chunk_size is None, spec.speculate
        model, rate = story.models[name], spec.rate
        self.engine = SimEngine(
            story.cluster,
            model,
            self.actor,
            story.checks,
            adaptive=adaptive,
            speculates=speculates,
            rate=rate,
            given=spec.given(),
            timeout=spec.timeout,
        )

    def _reading(self, pos: int) -> None:
        """Input is read only as fast as it is dispatched."""
        checks, size = self._story.checks, self.spec.chunk_size
        if size is not None:
            mine = (one for one in checks.now.attempts.values() if one["uid"] == self.engine.uid)
            ahead = pos - max((self.engine.furthest, *(one["stop"] for one in mine)))
            if ahead > self.engine.window * size:
                self._story.world.fail(f"item {pos} is read, {ahead} ahead of what was ever sent")

    def _run(self, actor: Actor) -> Results:
        story = self._story
        blobs = story.shelf.elsewhere if self.spec.wrong_store else None
        try:
            self.results = start.run(
                self.plan,
                ledger=story.checks.book.opened(actor),
                store=SimStore(story.shelf, actor, blobs=blobs),
                engine=self.engine,
                owner=_owner(self._number, same_task=story.setting.same_task),
                monitors=[_Witness(story, actor, self.engine)],
                stop=self.stop,
                clock=SimClock(story.world, actor, story.world.rng.random() * 1e6),
                new_id=story.world.new_id,
            )
        finally:
            self.tables, self.failovers = story.checks.now, story.checks.failovers
        return self.results


class Story:
    """A world, and what people do in it."""

    def __init__(self, world: World, *, wild: bool = False, shape: str = "any") -> None:
        self.world = world
        self._own = own = random.Random(f"{world.rng.getstate()[1][:9]} later")  # seeds stay what they were
        self.setting = setting = Setting.drawn(world.rng, own, shape)
        world.log(str(setting))
        self.models = {
            name: Model(world.rng, setting.items, folds=setting.folds, weight=setting.weight, failing=setting.failing)
            for name in NAMES
        }
        if setting.timeout is not None:
            for model in self.models.values():
                model.slow_down(own, setting.slow, setting.timeout)
        self.model = self.models[NAMES[0]]
        self.shelf = Shelf(world, reach=setting.reach, max_bytes=setting.max_bytes)
        self.checks = Checks(world, self.models, self.shelf, fails_over=setting.fails_over)
        self.cluster = Cluster(
            world,
            self.shelf,
            own,
            hosts=setting.hosts,
            slots=setting.slots,
            seconds=setting.seconds,
            patience=setting.patience,
        )
        self._constants = random.Random(f"{world.rng.getstate()[1][:9]}")  # of its own: seeds stay what they were
        self._often = 0.0 if setting.recut else self._constants.choice((0.0, 0.1, 0.5))
        self.tries: list[Try] = []
        self.beside: list[Try] = []  # at another scatter
        self.ends = Ends(self)
        self.mischief = Mischief(self, wild=wild)
        world.on_stall = self.mischief.takes_over

    def tell(self) -> None:
        """All of it."""
        if self.world.rng.random() < 0.25:
            self.begin_beside()
        for _ in range(self.world.rng.choice((1, 1, 2, 3))):
            self._try_with_mischief()
            self._wait(self.world.rng.choice((0.0, 1.0, 60.0)))
        self.world.faults.off()
        self.checks.book.away_until = self.shelf.away_until = self.world.now
        self._finish()
        self.model.fixed = True
        self._finish()
        self._finish_beside()
        self.mischief.over()
        self.world.drain()
        self.ends.check_all()

    def begin(self, spec: TrySpec) -> Try:
        """A coordinator starts."""
        if spec.wrong_store and (spec.mode == "fresh" or self.ends.ledger.find("flights") is None):
            spec = replace(spec, wrong_store=False)  # then it would be the right one
        begun = Try(self, spec, len(self.tries) + len(self.beside) + 1, NAMES[0])
        self.tries.append(begun)
        if self.setting.kind in ("range", "list"):
            self.checks.inputs[begun.actor.name] = spec.items(self.setting)
        self.checks.chosen[begun.actor.name] = spec.chosen
        if spec.accept:
            self.checks.inputs.clear()  # from here on items may differ
        return begun

    def drawn(self) -> TrySpec:
        """A try with something special about it, once in a while: another constant, too, or another global."""
        spec = TrySpec.drawn(self.world.rng, self.setting).edited(self._own, self.setting)
        return replace(spec, constant="two") if self._constants.random() < self._often else spec

    def begin_beside(self) -> Try:
        """A coordinator of another scatter starts, on the same engine."""
        spec = TrySpec(chunk_size=self.setting.chunk_size)
        self.beside.append(Try(self, spec, len(self.tries) + len(self.beside) + 1, NAMES[1]))
        return self.beside[-1]

    def _finish_beside(self) -> None:
        """The other scatter, too, comes to its end when nothing is in its way; and is exact."""
        for _ in range(6 if self.beside else 0):
            last = self.begin_beside()
            self.world.run(lambda one=last: one.actor.ended)  # type: ignore[misc]
            self.ends.judge(last)
            if last.results is not None and not self.ends.suspect_what_is_lost(NAMES[1]):
                return
        if self.beside:
            self.world.fail("no try of the other scatter comes to a good end")

    def _try_with_mischief(self) -> None:
        begun = len(self.tries)
        self.mischief.plan()
        self.begin(self.drawn())
        self.world.run(lambda: all(actor.ended for actor in self.world.actors) and self.mischief.quiet)
        for one in self.tries[begun:]:
            self.ends.judge(one)

    def _wait(self, seconds: float) -> None:
        """Nobody does anything for a while."""
        over = threading.Event()
        self.world.later(seconds, over.set)
        self.world.run(over.is_set)

    def _finish(self) -> None:
        """With nothing in its way a try comes to its end, and heals what was lost."""
        for spec in self.ends.good_specs():
            self.mischief.resume()
            self.mischief.redrive_all()
            last = self.begin(spec)
            self.world.run(lambda one=last: one.actor.ended)  # type: ignore[misc]
            self.ends.judge(last)
            if isinstance(last.actor.error, ScatterBusy):  # the clock of the ledger has gone back
                last = self.begin(spec)
                self.world.run(lambda one=last: one.actor.ended)  # type: ignore[misc]
            self.ends.slow_readers()
            if last.results is not None and not self.ends.suspect_what_is_lost():
                return
        self.world.fail("no try comes to a good end, though nothing is in its way")


def simulate(
    seed: int,
    tell: Callable[[str], None] | None = None,
    *,
    focus: Collection[str] = (),
    wild: bool = False,
    shape: str = "any",
) -> World:
    """The world of that seed, after its end; raises Violation at the first thing that is wrong.

    Args:
        tell: is given each line of the trace as it is written.
        focus: kinds of faults that are to happen often.
        wild: coordinators are followed by others, and gc comes, far more often.
        shape: what it is about, one of SHAPES.
    """
    world = World(seed, tell=tell, focus=focus)
    before = random.getstate()
    random.seed(seed)  # the worker's jitter
    try:
        with mock.patch.object(wiring, "Dispatch", _dispatch), constants(world.rng) as world.crossed:
            Story(world, wild=wild, shape=shape).tell()
    except Exception as exc:
        raise Violation(f"{type(exc).__name__} where none may be: {exc}") from exc
    finally:
        random.setstate(before)
        world.end()
    return world


class _Witness(Monitor):
    """Gets the events: the coordinator may die at each, and this may fail."""

    def __init__(self, story: Story, actor: Actor, engine: SimEngine) -> None:
        self._jobs = story.checks.jobs
        self._world = story.world
        self._actor = actor
        self._engine = engine

    def emit(self, event: Event) -> None:
        if isinstance(event, ChunkCommitted):
            said = [line for line in event.lines if line.level == "stdout" and not line.text.startswith(f"{line.pos} ")]
            for line in said:
                self._world.fail(f"the line {line.text!r} stands beside item {line.pos}")
            self._engine.settled(event.attempt)
        if isinstance(event, ScatterStarted):
            for wrong in self._jobs.told(self._actor.name, event):
                self._world.fail(f"{self._actor.name} {wrong}")
        if isinstance(event, Progress):
            self._engine.holds_nothing_committed()
        if isinstance(event, ChunkLost):
            self._world.log(f"{self._actor.name} has lost [{event.start}, {event.stop}): {event.reason}")
        self._actor.point(type(event).__name__)
        if self._world.faults.hits("monitor raises"):
            raise RuntimeError("this monitor is broken")


def _dispatch(engine: SimEngine, keyring: Keyring, address: Address, *, new_id: Callable[[], str]) -> Dispatch:
    """A Dispatch that stray receipts can be handed to."""
    made = _Dispatch(engine, keyring, address, new_id=new_id)
    engine.claimed(made, address.uid, address.epoch)
    made.engine = engine
    return made


class _Dispatch(Dispatch):
    """At the last moment before a re-run is written down the database may lose what it lies over."""

    engine: SimEngine

    def attempt(self, chunk: Chunk) -> Attempt:
        if chunk.layer:
            self.engine.chooses_again(chunk)
        return super().attempt(chunk)


def _owner(number: int, *, same_task: bool) -> Owner:
    """Tries of one Airflow task take over at once; others wait for the lease."""
    name = f"coordinator {number}"
    return Owner(name, "a host", number, 1.0, claim_key="the task" if same_task else None, claim_no=number)


def _shown(spec: TrySpec) -> str:
    usual = TrySpec()
    special = {name: getattr(spec, name) for name in spec.__slots__ if getattr(spec, name) != getattr(usual, name)}
    return (
        ", ".join(f"{name}={getattr(value, '__name__', value)}" for name, value in special.items()) or "nothing special"
    )
