"""What people and the world do while a scatter runs: takeovers, requests, gc, readers, lost hosts, jumping clocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from manifold.errors import LedgerError, ManifoldError, ScatterBusy
from manifold.ledger import Owner
from manifold.ledger.gc import sweep
from manifold.protocol.records import ChunkRow, ScatterRow
from manifold.results.results import Results
from tests.simulation.store import SimStore
from tests.simulation.world import Actor

if TYPE_CHECKING:
    from tests.simulation.story import Story


class Mischief:
    """Draws what happens beside the tries, and when. Where it is wild there is more of it: rivals and gc above all."""

    def __init__(self, story: Story, *, wild: bool = False) -> None:
        self._story = story
        self._world = story.world
        self._rng = story.world.rng
        self._coming = 0
        self._paused = False
        self._others = 3
        self._seen: list[ChunkRow] = []
        self.asked: list[str] = []
        self.store_was_away = False
        self._ways: tuple[Callable[[], object], ...] = (
            self._another,
            self._another,
            self._kill,
            self._kill_and_retry,
            self._kill_with_echoes,
            self._jump,
            self._no_ledger,
            self._no_store,
            story.cluster.lose_host,
            story.cluster.lose_queue,
            story.cluster.restart,
            story.cluster.grow,
            self._collect,
            self._next_day,
            self._read,
            self._lose,
            self._control,
            self._control,
            self._cancel,
            self._stop,
            self._suspect,
            self._suspect,
            story.checks.fail_over,
            story.checks.fail_over,
        )
        self._how_many: tuple[int, ...] = (0, 1, 1, 2, 4)
        if story.setting.recut:
            self._ways = (self._kill_and_retry,) * 3 + (self._kill_with_echoes,)
            self._how_many = (2, 3, 4)
        if wild:
            self._ways += (self._another,) * 6 + (self._collect,) * 6 + (self._kill_with_echoes,) * 3
            self._how_many = (2, 4, 6, 9)
            self._others = 6

    @property
    def quiet(self) -> bool:
        """All that was planned has happened."""
        return self._coming == 0

    def plan(self) -> None:
        """Decide what is to happen in the next minute."""
        if self._rng.random() < 0.2:
            self._collect()  # it may find what is taken up again the next moment
        for _ in range(self._rng.choice(self._how_many)):
            self._at(self._rng.choice((0.3, 1, 2, 5, 20)) * self._rng.random(), self._rng.choice(self._ways))

    def takes_over(self, _stands_still: Actor) -> None:
        """A process stands still: others take it for dead, and start anew."""
        if self._others and self._rng.random() < 0.7:
            self._others -= 1
            spec = self._story.drawn()
            if self._rng.random() < 0.2:
                spec = replace(spec, mode="fresh")
            self._story.begin(spec)

    def resume(self) -> None:
        """A pause that somebody left outlives its coordinator: take it back."""
        found = self._living()
        if found is not None and self._paused:
            try:
                self._story.ends.ledger.control(found.uid, "resume", {}, "the story")
            except LedgerError:
                self._world.later(1.0, self.resume)  # it has ended; the pause outlives that
            else:
                self._paused = False

    def redrive_all(self) -> None:
        """A redrive of chosen items that nobody has begun is overtaken by one of all."""
        found = self._living()
        ledger = self._story.ends.ledger
        if found is not None and any(one.verb == "redrive" for one in ledger.pending_controls(found.uid)):
            ledger.control(found.uid, "redrive", {}, "the story")

    def over(self) -> None:
        """Nothing more is asked of anybody."""
        self._paused = False

    def _at(self, seconds: float, what: Callable[[], object]) -> None:
        def happen() -> None:
            self._coming -= 1
            what()

        self._coming += 1
        self._world.later(seconds, happen)

    def _living(self) -> ScatterRow | None:
        return self._story.ends.ledger.find("flights")

    # -- coordinators ------------------------------------------------------------------------------------------------

    def _another(self) -> None:
        self._story.begin(self._story.drawn())

    def _kill(self) -> None:
        living = [one for one in self._story.tries if not one.actor.ended]
        if living:
            self._rng.choice(living).actor.kill()

    def _kill_and_retry(self) -> None:
        """A coordinator dies, and its task is tried again at once."""
        self._kill()
        self._another()

    def _kill_with_echoes(self) -> None:
        """A coordinator dies, and what it had sent comes back when another is at work."""
        living = [one for one in self._story.tries if not one.actor.ended]
        if living:
            one = self._rng.choice(living)
            self._story.cluster.delay(one.engine, self._rng.choice((1.0, 4.0, 10.0)))
            one.actor.kill()
            self._another()

    def _stop(self) -> None:
        for one in self._story.tries:
            if not one.actor.ended:
                self._world.log(f"{one.actor.name} is asked to stop")
                one.stop.set()

    # -- requests ------------------------------------------------------------------------------------------------------

    def _control(self) -> None:
        found = self._living()
        if found is None:
            return
        verb, value = self._rng.choice(
            (
                ("pause", {}),
                ("drain", {}),
                ("cancel", {}),
                ("set", {"max_concurrency": 1}),
                ("set", {"rate_limit": 5.0}),
                ("set", {"tolerate": "100%"}),
                ("set", {"chunk_size": 3}),
                self._a_redrive(),
            )
        )
        self._world.log(f"somebody wants: {verb} {value}")
        try:
            self._story.ends.ledger.control(found.uid, verb, value, "somebody")
        except LedgerError:
            return  # it has ended
        self.asked.append(verb)
        self._story.cluster.rates_change |= verb == "set"
        if verb == "pause":
            self._paused = True
            self._at(4.0, self.resume)

    def _a_redrive(self) -> tuple[str, dict[str, Any]]:
        """All failed items, those of one kind of error, or some by position."""
        failed = {pos: kind for kinds in self._story.checks.now.kinds.values() for pos, kind in kinds.items()}
        some = self._rng.sample(sorted(failed), len(failed) // 2)
        values: tuple[dict[str, Any], ...] = ({}, {"positions": some}, {"fingerprints": sorted(failed.values())[:1]})
        return "redrive", self._rng.choice(values)

    def _cancel(self) -> None:
        """Somebody cancels a scatter of which no coordinator lives, as the command line does."""

        def body(actor: Actor) -> None:
            ledger = self._story.checks.book.opened(actor)
            found = ledger.find("flights")
            if found is not None and found.state == "running":
                try:
                    claim = ledger.acquire(found.uid, Owner(actor.name, "a host", 0, 1.0))
                    claim.end("cancelled", "cancelled by somebody")
                    self.asked.append("cancel")
                except ScatterBusy:
                    pass

        Actor(self._world, "canceller", body)

    # -- the world ---------------------------------------------------------------------------------------------------

    def _jump(self) -> None:
        self._story.checks.book.ahead += self._rng.choice((-40.0, 35.0, 90_000.0))
        self._world.log(f"the database's clock is at {self._story.checks.book.now():.0f}")

    def _next_day(self) -> None:
        """The database's clock leaps by a day, and gc comes."""
        self._story.checks.book.ahead += 90_000.0
        self._collect()

    def _no_ledger(self) -> None:
        self._world.log("the ledger is away")
        self._story.checks.book.away_until = self._world.now + self._rng.choice((1.0, 8.0, 40.0))

    def _no_store(self) -> None:
        self._world.log("the store is away")
        self.store_was_away = True
        self._story.shelf.away_until = self._world.now + self._rng.choice((1.0, 5.0, 30.0))

    def _lose(self) -> None:
        keys = [key for row in self._story.checks.now.chunks.values() for key in (row.blob_key, row.fail_key) if key]
        keys = [key for key in keys if key in self._story.shelf.blobs and key not in self._story.shelf.lost]
        if keys:
            self._story.shelf.lose(self._rng.choice(keys), cut=self._rng.random() < 0.5)

    # -- others at the ledger and the store --------------------------------------------------------------------------

    def _collect(self) -> None:
        def body(actor: Actor) -> None:
            store = SimStore(self._story.shelf, actor)
            old = self._rng.choice((None, None, 10.0, 0.0))
            sweep(self._story.checks.book.opened(actor), lambda _row: store, older_than=old)

        Actor(self._world, "gc", body, slow=True)

    def _read(self) -> None:
        def body(actor: Actor) -> None:
            ledger = self._story.checks.book.opened(actor)
            found = ledger.find("flights")
            if found is None:
                return
            results = Results.of(found, ledger, SimStore(self._story.shelf, actor))
            try:
                _ = results.value() if self._story.setting.folds else list(results.pairs())
                for failure in results.failures():
                    _ = failure.item
                for line in results.logs():
                    if not line.text.startswith(f"{line.pos} "):
                        self._world.fail(f"{actor.name} finds the line {line.text!r} beside item {line.pos}")
            except ManifoldError as exc:
                self._world.log(f"{actor.name}: {type(exc).__name__}: {exc}")

        Actor(self._world, "reader", body)

    def _suspect(self) -> None:
        """Readers suspect a chunk: one that is sound, or one that they read long ago."""
        rows = list(self._story.checks.now.chunks.values())
        if self._seen:
            self._story.ends.suspect(self._seen.pop())
        if rows:
            self._seen.append(self._rng.choice(rows))
            self._at(3.0, lambda: self._story.ends.suspect(self._rng.choice(rows)))
