"""What must hold when a try has ended, and at the end of all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from manifold.coordinator.losses import EXCUSES, STRIKES
from manifold.errors import EmptyReduce, ItemsChanged, ResultsLost
from manifold.ledger import Ledger
from manifold.ledger.gc import sweep
from manifold.ledger.verify import verify, verify_blobs
from manifold.protocol.records import ChunkRow, ScatterRow
from manifold.results.results import Results
from tests.simulation.judge import Judge
from tests.simulation.model import VERSIONS, Model
from tests.simulation.setting import TrySpec
from tests.simulation.store import SimStore

if TYPE_CHECKING:
    from tests.simulation.story import Story, Try


class Ends:
    """Looks at what came of a try, through a connection of its own for which nothing goes wrong."""

    def __init__(self, story: Story) -> None:
        self.ledger = Ledger(story.checks.book.engine, now=story.checks.book.now)
        self.store = SimStore(story.shelf, None)
        self._story = story
        self._world = story.world
        self._judge = Judge(story)
        self._suspected: list[ChunkRow] = []
        self._pins: list[tuple[Results, list[tuple[int, str]]]] = []

    # -- after a try -------------------------------------------------------------------------------------------------

    def judge(self, one: Try) -> None:
        """It came to an end that it may come to, and a reader gets what was made."""
        error = one.actor.error
        row = self._row(one.engine.uid)
        if error is not None and not self._judge.may(one, error, row):
            raise self._world.fail(f"{one.actor.name} ends with {type(error).__name__}: {error}") from error
        if isinstance(error, ItemsChanged):
            self._withdrawn(one)
        if one.results is not None and one.failovers == self._story.checks.failovers:
            self._account(one, one.results)
            self._same_work(one, one.results)
            self._failures(one.results)
            self._redriven(one, one.results)
            self._same_items(one, one.results)
            self._results(one.results)

    def _row(self, uid: str) -> ScatterRow | None:
        """The scatter as it stands; None where the database has lost it."""
        return self.ledger.scatter(uid) if uid in self._story.checks.now.scatters else None

    def _account(self, one: Try, results: Results) -> None:
        done, items = results.n_ok + results.n_failed + results.n_skipped, len(one.spec.items(self._story.setting))
        if one.spec.mode == "redrive":  # which looks at no input, where there are no gaps
            items = done
        if not results.total == done == items:
            self._world.fail(f"{one.actor.name} succeeded, and {done} of {items} items are accounted for")
        budget = one.plan.policy.tolerate.budget(done, results.total, ended=True)
        if results.n_failed > budget and "set" not in self._story.mischief.asked:
            self._world.fail(f"{one.actor.name} succeeded, and {results.n_failed} items failed, where {budget} may")

    def _same_work(self, one: Try, results: Results) -> None:
        """Results that were there already are of a try with the same function and constants."""
        checks = self._story.checks
        for wrong in checks.jobs.returned(one.actor.name, results.uid, one.jobs) if not one.engine.epoch else ():
            if not checks.failovers:
                self._world.fail(f"{one.actor.name} {wrong}")

    def _failures(self, results: Results) -> None:
        """A reader finds the items that are failed now, in order."""
        found = [one.position for one in self._mine(results).failures()]
        if found != sorted(self._story.checks.now.failed[results.uid]):
            self._world.fail(f"a reader finds the failed items {found}, and others are")

    def _withdrawn(self, one: Try) -> None:
        """A try that met another input has committed nothing of it."""
        mixed = [row for row in one.tables.of(one.engine.uid) if row.epoch == one.engine.epoch and one.engine.epoch]
        if mixed:
            self._world.fail(f"{one.actor.name} met another input, and [{mixed[0].start}, {mixed[0].stop}) of it stays")

    def _redriven(self, one: Try, results: Results) -> None:
        """What was failed when the try began, and was to run again, has done so."""
        where = (results.uid, one.engine.epoch)
        asked = one.spec.chosen is not None or where in one.tables.redrives
        if asked or not one.engine.epoch or self._story.shelf.lost:  # a quarantine that is lost runs nothing again
            return
        left = {pos for pos, epoch in one.tables.failed_in[results.uid].items() if epoch < one.engine.epoch}
        if left & self._story.checks.begun.get(where, {}).keys():
            self._world.fail(f"{one.actor.name} succeeded, and never ran the items {sorted(left)} again")

    def _same_items(self, one: Try, results: Results) -> None:
        """What earlier tries committed is of the input that this one has read, where it could tell."""
        kind, model = self._story.setting.kind, one.engine.model
        if kind not in ("iterable", "sized", "iterator") or one.spec.accept or one.spec.mode != "continue":
            return
        items = one.spec.items(self._story.setting)
        for row in one.tables.of(results.uid) if one.engine.epoch else ():
            ran = [ran for ran in model.ran(row) if ran.agrees(row)] if not row.layer else []
            for pos, (_, _, item) in ran[0].items.items() if ran else ():
                if row.start <= pos < row.stop and items[pos] != item:
                    self._world.fail(f"{one.actor.name} succeeded with {items[pos]!r}, and {item!r} is committed")

    def _results(self, results: Results) -> None:
        if (row := self._row(results.uid)) is not None and row.state != "replaced":
            expected = self._story.models[row.name].values(self.ledger.merged(results.uid, as_of=results.as_of))
            self._same(results, expected)
            self._pins.append((results, expected))

    def _same(self, handle: Results, expected: list[tuple[int, str]]) -> None:
        """What a reader gets is what the model has, in order; or it is told that bytes are lost."""
        results = self._mine(handle)
        folded = "".join(value for _, value in expected)
        try:
            if self._story.setting.folds:
                same = (results.value() if expected else self._empty(results)) == folded
            else:
                same = list(results.pairs()) == expected and self._parts(results, [value for _, value in expected])
        except ResultsLost as exc:
            if not self._story.shelf.lost:
                raise self._world.fail(f"a reader misses results that nobody took: {exc}") from exc
            return
        if not same:
            self._world.fail(f"as of {handle.as_of} a reader gets other results than {expected}")

    def _mine(self, handle: Results) -> Results:
        """The same, read through a connection for which nothing goes wrong."""
        counts = {"n_ok": handle.n_ok, "n_failed": handle.n_failed, "n_skipped": handle.n_skipped}
        row = msgspec.structs.replace(self.ledger.scatter(handle.uid), seq=handle.as_of, **counts)
        return Results.of(row, self.ledger, self.store)

    @staticmethod
    def _parts(results: Results, values: list[str]) -> bool:
        """Single results and slices are those of the whole."""
        middle = len(values) // 2
        single = not values or (results[middle], results[-1]) == (values[middle], values[-1])
        return single and list(results[middle:]) == values[middle:] and list(results[::-2]) == values[::-2]

    @staticmethod
    def _empty(results: Results) -> str:
        """Nothing to fold, and nothing to begin with, is an error of its own."""
        try:
            return f"{results.value()!r} of nothing"
        except EmptyReduce:
            return ""

    # -- at the end --------------------------------------------------------------------------------------------------

    def good_specs(self) -> Iterator[TrySpec]:
        """Tries of which one must succeed: as the scatter began; once more where bytes were lost; and, where an input
        shows only by its items or a store was wrong, as any other version of it, or from scratch."""
        found, tries = self.ledger.find("flights"), self._story.tries
        maker = self._story.checks.makers.get(found.uid) if found is not None else None
        first = next((one.spec for one in tries if one.actor.name == maker), TrySpec())
        code = self._world.rng.choice(("first", "second"))
        size = self._story.setting.chunk_size
        spec = TrySpec(code=code, fold=first.fold, version=first.version, chunk_size=size, constant=first.constant)
        yield from [spec] * (3 if self._story.shelf.lost else 1)
        if any(one.spec.version != first.version or one.spec.wrong_store for one in tries):
            for version in VERSIONS:
                yield replace(spec, version=version)
            yield replace(spec, mode="fresh")

    def suspect(self, row: ChunkRow) -> None:
        """A reader says that it could not read this chunk."""
        self._suspected.append(row)
        if self.ledger.suspect(row):
            self._world.log(f"[{row.start}, {row.stop}) of layer {row.layer} is suspect")
            now = self._story.checks.now.chunks.get((row.uid, row.layer, row.start))
            if now is None or now.attempt != row.attempt:
                self._world.fail(f"[{row.start}, {row.stop}) is suspect, and another was read")

    def slow_readers(self) -> None:
        """Readers that began long ago find now what others have found before."""
        suspected, self._suspected = self._suspected, []
        for row in suspected:
            self.suspect(row)
        self._suspected.clear()

    def suspect_what_is_lost(self, name: str = "flights") -> bool:
        """A reader finds all that is lost; whether there was something."""
        found = self.ledger.find(name)
        lost = False
        for merged in self.ledger.merged(found.uid) if found is not None else ():
            for row in (merged.base, *merged.overlays):
                if {row.blob_key, row.fail_key} & self._story.shelf.lost:
                    self.suspect(row)
                    lost = True
        return lost

    def check_all(self) -> None:
        """The account is closed, and everything is where it belongs."""
        row = self.ledger.find("flights")
        if row is None or row.state != "succeeded" or row.n_failed:
            self._world.fail(f"all is fixed, and it is {row}")
        sweep(self.ledger, lambda _row: self.store)
        for wrong in (*verify(self.ledger), *verify_blobs(self.ledger, row.uid, self.store, collected=True)):
            self._world.fail(f"at the end {wrong.invariant} is broken: {wrong.text}")
        for pinned, expected in self._pins:
            if pinned.uid == row.uid and pinned.uid not in self._story.checks.withdrawn:
                self._same(pinned, expected)
        self._costs()

    def _costs(self) -> None:
        """Nothing ran more often, killed more workers or went faster than it may."""
        for name, tries in zip(self._story.models, (self._story.tries, self._story.beside), strict=True):
            if tries:
                self._cost(self._story.models[name], tries)

    def _cost(self, model: Model, tries: list[Try]) -> None:
        for pos, count in model.starts.items():
            if count > model.excuses[pos]:
                self._world.fail(f"item {pos} was begun {count} times, and for {model.excuses[pos]} there is a reason")
        calls, most = max(1, *(one.spec.retries + 1 for one in tries)), 0
        for ran in (ran for runs in model.runs.values() for ran in runs):
            most = max(ran.calls.values(), default=0)
            if most > calls:
                self._world.fail(f"an execution of {ran.attempt} called an item {most} times, and {calls} may be")
        for (_, epoch, pos), count in model.killed.items():
            strikes = STRIKES + any(one.spec.speculate for one in tries)  # a copy may be on its way to die, too
            most = strikes * (math.ceil(math.log2(model.largest)) + 1) + EXCUSES + model.disturbed[pos]
            if count > most:
                self._world.fail(f"item {pos} killed {count} workers in epoch {epoch}, and {most} may be")
        self._overdue(model, copies=any(one.spec.speculate for one in tries))
        for one in tries:
            if one.spec.rate is not None and "set" not in self._story.mischief.asked:
                self._rate(one, one.spec.rate)

    def _overdue(self, model: Model, *, copies: bool) -> None:
        """What an item's process was ended for is cut each time, and condemned once the item is known."""
        for (_, epoch, pos), count in model.ended.items():
            most = math.ceil(math.log2(model.largest)) + 1 + copies + model.disturbed[pos]
            if count > most:
                self._world.fail(f"item {pos} ended {count} workers in epoch {epoch}, and {most} may be")

    def _rate(self, one: Try, rate: float) -> None:
        """First executions begin no faster than tokens are granted; retries and repeats are paid for afterwards."""
        engine, first = one.engine, dict[tuple[str, int], float]()
        for ran, pos, at in self._story.cluster.starts:
            if ran.attempt in engine.attempts:
                first.setdefault((ran.attempt, pos), at)
        for number, at in enumerate(sorted(first.values()), 1):
            if number > rate * (at - engine.began) + 1e-6:
                self._world.fail(f"{number} items began in {at - engine.began:.2f} s, at {rate:g} a second")
