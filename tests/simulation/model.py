"""What the items do, what really ran, and what must come of it: all that a check may compare the ledger with."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from manifold.errors import RetryItem, SkipItem
from manifold.ledger import MergedRow
from manifold.protocol import outcome
from manifold.protocol.records import ChunkRow
from tests.simulation.work import Given

KINDS = {
    "ok": 80,
    "fails": 4,
    "flaky": 6,
    "skips": 3,
    "at times skipped": 2,
    "stumbles": 2,
    "asks again": 1,
    "unpicklable": 1,
    "poison": 2,
}
"""What an item may be like, and how often it is."""
SLOW = ("slow", "slow at times", "deaf")
"""What an item is like that takes longer than it may."""
VERSIONS = ("as it was", "shorter", "longer", "changed")


class Killed(BaseException):
    """The worker process ends here."""


@dataclass(slots=True)
class Ran:
    """One execution of an attempt: what it really did with each item, in order."""

    uid: str
    epoch: int
    attempt: str
    nonce: str
    given: Given
    timeout: float | None = None
    late: set[int] = field(default_factory=set)  # what was interrupted, because it took too long
    items: dict[int, tuple[str, str, object]] = field(default_factory=dict)  # position → letter, value, the item
    calls: Counter[int] = field(default_factory=Counter)  # position → how often it was called

    def agrees(self, row: ChunkRow) -> bool:
        """The row says what this execution did."""
        told = enumerate(letters(row), row.start)
        return all(self.items.get(pos, ".")[0] == letter for pos, letter in told if letter != outcome.UNTOUCHED)


class Model:
    """The items of one world, and every execution of them.

    Args:
        weight: bytes that a result has beside its name; twice as many at times.
        failing: most of them fail.
    """

    def __init__(self, rng: random.Random, items: int, *, folds: bool, weight: int, failing: bool = False) -> None:
        self._rng = rng
        calm = rng.random() < 0.3
        kinds = rng.choices(list(KINDS), list(KINDS.values()), k=items + 4)
        if failing:
            calm, kinds = False, rng.choices(("ok", "fails", "flaky"), k=items + 4)
        # A fold of what cannot be pickled ends the scatter, which is another matter.
        self._kinds = ["ok" if calm or (folds and kind == "unpicklable") else kind for kind in kinds]
        self.positions = items + 4  # that there may be in some version of the input
        self._values = 0
        self._weight = weight // 2
        self.fixed = False
        self.largest = 1  # items in a chunk
        self.runs: dict[str, list[Ran]] = defaultdict(list)  # by attempt
        self.starts: Counter[int] = Counter()  # position → in how many executions of chunks it was begun
        self.excuses: Counter[int] = Counter()  # position → reasons for it to be begun (once more)
        self.disturbed: Counter[int] = Counter()
        self.died_alone: Counter[int] = Counter()
        self.overdue: Counter[int] = Counter()  # position → processes that were ended because it did not end
        self.ended: Counter[tuple[str, int, int]] = Counter()  # uid, epoch, position → the same
        self._own, self._long = rng, 0.0
        self.killed: Counter[tuple[str, int, int]] = Counter()  # uid, epoch, position

    # -- what happens ------------------------------------------------------------------------------------------------

    def slow_down(self, own: random.Random, share: float, timeout: float) -> None:
        """Some items take longer than `timeout`: always, at times, or deaf to whatever interrupts them."""
        self._own, self._long = own, 3 * timeout
        self._kinds = [own.choice(SLOW) if own.random() < share else kind for kind in self._kinds]

    def begin(self, uid: str, epoch: int, attempt: str, nonce: str, given: Given, timeout: float | None) -> Ran:
        """A worker begins with an attempt."""
        ran = Ran(uid, epoch, attempt, nonce, given, timeout)
        self.runs[attempt].append(ran)
        return ran

    def starts_with(self, ran: Ran, pos: int) -> float | None:
        """An item is begun; seconds that it takes this time, where it takes long."""
        ran.calls[pos] += 1
        ran.late.discard(pos)
        self.starts[pos] += ran.calls[pos] == 1
        kind = self._kind(pos)
        return self._long if kind in SLOW and (kind != "slow at times" or self._own.random() < 0.5) else None

    def is_deaf(self, pos: int) -> bool:
        """It goes on, whatever interrupts it."""
        return self._kinds[pos] == "deaf"

    def interrupts(self, ran: Ran, pos: int, item: object) -> None:
        """It takes too long this time, and is interrupted."""
        ran.items[pos] = (outcome.FAILED, "", item)
        ran.late.add(pos)

    def ends_process(self, ran: Ran, pos: int) -> None:
        """It does not end, so its process does."""
        self.overdue[pos] += 1
        self.ended[ran.uid, ran.epoch, pos] += 1

    def execute(self, ran: Ran, pos: int, item: object) -> Any:
        """The item's own doing: what the user's function returns, or raises, this time."""
        self._values += 1
        kind, again = self._kind(pos), pos in ran.items
        if kind == "poison":
            self.killed[ran.uid, ran.epoch, pos] += 1
            raise Killed(f"poison at {pos}")
        value = f"{pos}.{self._values:x};{self._rng.randbytes(self._weight * self._rng.choice((1, 2))).hex()}"
        letter = self._letter(kind, again=again)
        ran.items[pos] = (letter, value, item)
        if letter == outcome.SKIPPED:
            raise SkipItem(f"{item} is not wanted")
        if kind == "asks again" and not again:
            raise RetryItem("later", after=2.0)
        if kind == "unpicklable":
            return _Unpicklable()
        if letter == outcome.FAILED:
            raise ValueError(f"{item} cannot be done")
        return value

    def interrupted(self, positions: range) -> None:
        """Something happens for which these items may have to run once more."""
        self.excuses.update(positions)
        self.disturbed.update(positions)

    def lost(self, positions: range, *, died: bool) -> None:
        """A chunk of these items is said to be lost."""
        self.excuses.update(positions)
        if not died:
            self.disturbed.update(positions)
        elif len(positions) == 1:
            self.died_alone[positions.start] += 1

    def _kind(self, pos: int) -> str:
        kind = self._kinds[pos]
        return "ok" if self.fixed and kind != "skips" else kind

    def _letter(self, kind: str, *, again: bool) -> str:
        if kind == "skips" or (kind == "at times skipped" and self._rng.random() < 0.5):
            return outcome.SKIPPED
        stumbles = kind in ("stumbles", "asks again") and not again
        if kind in ("fails", "unpicklable") or stumbles or (kind == "flaky" and self._rng.random() < 0.5):
            return outcome.FAILED
        return outcome.OK

    # -- what must come of it ----------------------------------------------------------------------------------------

    def ran(self, row: ChunkRow) -> list[Ran]:
        """The executions that a committed chunk may be of: the one that its keys name; all, where it has none."""
        key = row.blob_key or row.fail_key
        nonce = key.split(".")[-2] if key else None
        return [one for one in self.runs.get(row.attempt, ()) if nonce in (None, one.nonce)]

    def values(self, merged: Iterable[MergedRow]) -> list[tuple[int, str]]:
        """(position, value) of each item that succeeded, as the rows have it."""
        found = []
        for one in merged:
            for pos, (letter, row) in enumerate(tellers(one), one.base.start):
                if letter == outcome.OK:
                    found.append((pos, self.ran(row)[0].items[pos][1]))
        return found


class _Unpicklable:
    """A result that cannot leave its worker."""

    def __reduce__(self) -> str:
        raise TypeError("this stays here")


def tellers(merged: MergedRow) -> list[tuple[str, ChunkRow]]:
    """What became of each item of a base chunk, and the row that says so: the highest layer that touched it."""
    base = merged.base
    told = [(letter, base) for letter in letters(base)]
    for row in sorted(merged.overlays, key=lambda one: one.layer):
        for pos, letter in enumerate(letters(row), row.start):
            if letter != outcome.UNTOUCHED:
                told[pos - base.start] = (letter, row)
    return told


def letters(row: ChunkRow) -> str:
    """One letter per position of a row."""
    return "".join(letter * (stop - start) for letter, start, stop in outcome.spans(row.outcome, row.start, row.stop))


def position(item: object) -> int:
    """Where an item stands in every version of the input."""
    return item if isinstance(item, int) else int(str(item).partition("-")[0].strip("i'"))


def inputs(kind: str, items: int, version: str, at: int, padding: int = 0) -> Sequence[object]:
    """The input, in one of its versions: as it was, shorter, longer, or changed at one position."""
    length = max(0, items + {"shorter": -2, "longer": 2}.get(version, 0))
    if kind == "range":
        return range(length)
    pad = "-" + "x" * padding if padding else ""
    names = [f"i{pos}{chr(39) if version == 'changed' and pos == at else ''}{pad}" for pos in range(length)]
    return [Opaque(name) for name in names] if kind == "opaque" else names


class Opaque:
    """An item that has no digest."""

    def __init__(self, name: str) -> None:
        self._call = {1: name}
        self._function = inputs  # what holds one has no identity

    def __str__(self) -> str:
        return self._call[1]
