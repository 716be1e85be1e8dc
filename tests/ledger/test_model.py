"""Random schedules against a model that keeps one letter per item and layer."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from manifold.ledger import Claim, Ledger, open_ledger
from manifold.protocol.records import Attempt, ChunkRow
from tests.ledger.made import claim_rows, letters, new, owner, planned, receipt, sound

ITEMS = 24


@dataclass
class Model:
    """What must come out, told in the simplest way: committed letters by layer, and which attempts are open."""

    layers: dict[int, dict[int, str]] = field(default_factory=lambda: {0: {}})
    bases: dict[int, int] = field(default_factory=dict)
    """start → stop of the base's chunks."""
    failed_in: dict[int, int] = field(default_factory=dict)
    """position → epoch, of the items failed now."""
    open: set[str] = field(default_factory=set)
    won: dict[str, str] = field(default_factory=dict)
    """attempt → what it committed, while that stands."""

    def merged(self) -> str:
        told = [
            next(
                (self.layers[layer][pos] for layer in sorted(self.layers, reverse=True) if pos in self.layers[layer]),
                "_",
            )
            for pos in range(ITEMS)
        ]
        return "".join(told).rstrip("_")

    def commit(self, attempt: Attempt, text: str, epoch: int) -> bool:
        """Whether it counts; if so, it does."""
        if self.won.get(attempt.id) == text and not set("of") & set(text):
            return True  # without a blob, an execution cannot be told from its twin
        if attempt.id not in self.open:
            return False
        self.open.discard(attempt.id)
        touched = {attempt.start + index: letter for index, letter in enumerate(text) if letter != "."}
        if not touched:
            return False
        if attempt.layer == 0:
            if touched.keys() & self.layers[0].keys():
                return False
            self.bases[attempt.start] = attempt.start + len(text)
        else:
            inside = any(
                start <= attempt.start and attempt.start + len(text) <= stop for start, stop in self.bases.items()
            )
            rerun = all(self.failed_in.get(pos, epoch) < epoch for pos in touched)
            if attempt.layer != epoch or not inside or not rerun:
                return False
        self.won[attempt.id] = text
        self.layers.setdefault(attempt.layer, {}).update(touched)
        for pos, letter in touched.items():
            self.failed_in.pop(pos, None)
            if letter == "f":
                self.failed_in[pos] = attempt.epoch
        return True

    def withdraw_base(self, row: ChunkRow) -> None:
        del self.bases[row.start]
        for pos in range(row.start, row.stop):
            self.failed_in.pop(pos, None)
            for layer in self.layers.values():
                layer.pop(pos, None)


class Schedule:
    """One random run of coordinators, workers and losses over one scatter."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ledger = ledger
        self.model = Model()
        self.sent: list[Attempt] = []
        self.claim: Claim = ledger.acquire(ledger.create(new(f"seed {seed}")).uid, owner())

    def step(self) -> None:
        self.chance.choices(
            [self.send, self.send_a_rerun, self.come_back, self.take_over, self.withdraw], [6, 4, 12, 1, 1]
        )[0]()

    def send(self) -> None:
        start = self.chance.randrange(ITEMS)
        self._send(planned(self.claim, start, min(ITEMS, start + self.chance.randint(1, 8))))

    def send_a_rerun(self) -> None:
        if self.model.bases:
            start, stop = self.chance.choice(sorted(self.model.bases.items()))
            first = self.chance.randrange(start, stop)
            last = self.chance.randint(first + 1, stop)
            self._send(planned(self.claim, first, last, layer=self.claim.epoch))

    def _send(self, attempt: Attempt) -> None:
        self.claim.commit(attempts=[attempt])
        self.sent.append(attempt)
        self.model.open.add(attempt.id)

    def come_back(self) -> None:
        """Some attempts come back, perhaps for the second time, perhaps in part."""
        some = self.chance.sample(self.sent, min(len(self.sent), self.chance.randint(1, 3)))
        if len({one.layer for one in some}) > 1:
            some = some[:1]  # a re-run beside its own base in one commit is decided before that base counts
        texts = [self._outcome(one) for one in some]
        told = [receipt(one, text, nonce=str(self.chance.random())) for one, text in zip(some, texts, strict=True)]
        expected = [self.model.commit(one, text, self.claim.epoch) for one, text in zip(some, texts, strict=True)]
        assert self.claim.commit(told).won == expected

    def _outcome(self, attempt: Attempt) -> str:
        stop = self.chance.randint(attempt.start + 1, attempt.stop)
        if not attempt.layer:
            return "".join(self.chance.choices("oofs", k=stop - attempt.start))
        chosen = [
            self.model.failed_in.get(pos, attempt.layer) < attempt.layer or self.chance.random() < 0.05
            for pos in range(attempt.start, stop)
        ]
        return "".join(self.chance.choice("ofs") if one else "." for one in chosen)

    def take_over(self) -> None:
        self.claim.release()
        self.claim = self.ledger.acquire(self.claim.uid, owner(self.claim.epoch + 1))
        self.model.open -= {one.id for one in self.sent if one.layer}

    def withdraw(self) -> None:
        rows = [row for row in claim_rows(self.claim) if row.layer == 0]
        if rows:
            row = self.chance.choice(rows)
            self.claim.withdraw(row)
            self.model.withdraw_base(row)
            for one in self.sent:
                if row.start <= one.start < row.stop and (one.layer or one.id == row.attempt):
                    self.model.won.pop(one.id, None)
            inside = {one.id for one in self.sent if one.layer and row.start <= one.start < row.stop}
            if row.n_failed:
                self.model.open -= inside


@pytest.mark.parametrize("seed", range(40))
def test_the_ledger_says_what_the_model_says(seed: int) -> None:
    ledger = open_ledger("sqlite://")
    schedule = Schedule(ledger, seed)
    for _ in range(60):
        schedule.step()
        text = schedule.model.merged()
        assert letters(ledger, schedule.claim.uid) == text
        row = ledger.scatter(schedule.claim.uid)
        assert (row.n_ok, row.n_failed, row.n_skipped) == tuple(text.count(letter) for letter in "ofs")
        assert [one.pos for one in ledger.failures(row.uid)] == sorted(schedule.model.failed_in)
        sound(ledger)
    ledger.close()
