"""What one seed is about: its items, its engine, its store; and the tries that people make of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from manifold.abc import Source
from manifold.coordinator.spec import Mode, ScatterSpec
from manifold.policy import Policy
from manifold.sources import as_source
from tests.simulation import editions
from tests.simulation.faults import Faults
from tests.simulation.model import VERSIONS, inputs
from tests.simulation.work import Given, join, join_again

CHUNK_BYTES = 1024


SHAPES: dict[str, dict[str, Any]] = {
    "any": {},
    "copies": {"items": 20, "slots": 3, "chunk_size": 1, "speculate": True},
    "rate": {"items": 20, "rate": 20.0, "retries": 2, "max_bytes": None},
    "another": {"items": 13, "kind": "iterable", "chunk_size": 2, "slots": 3, "another": 0.6},
    "walk": {"items": 13, "kind": "iterable", "chunk_size": 2},
    "chosen": {"items": 13, "chosen": frozenset(range(0, 13, 2))},
    "heavy": {"items": 20, "kind": "list", "padding": 300, "chunk_size": None},
    "failover": {"fails_over": True},
    "edited": {"items": 8, "chunk_size": 2, "edits": 0.7},
    "async": {"items": 20, "form": "awaits"},
    "timeout": {"items": 13, "timeout": 3.0, "seconds": 0.5, "slow": 0.3},
    "recut": {
        "items": 6,
        "failing": True,
        "fails_over": True,
        "slots": 3,
        "seconds": 0.5,
        "kind": "range",
        "max_bytes": None,
        "folds": False,
        "recut": (2, 3, 6),
        "chosen": None,
        "mode": "continue",
        "code": "first",
        "edits": 0.0,
        "version": "as it was",
        "tolerate": "100%",
        "rate": None,
        "wrong_store": False,
    },
    "failing": {"items": 20, "failing": True, "chunk_size": 5, "tolerate": "100%", "breaker": 0, "chosen": None},
}
"""What some seeds are about: fields of a setting, or of every try that somebody makes of it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same throughout a seed."""

    items: int
    kind: str
    folds: bool
    chunk_size: int | None
    hosts: int
    slots: int
    seconds: float
    reach: str
    max_bytes: int | None
    changed_at: int
    padding: int
    weight: int
    same_task: bool
    fails_over: bool
    failing: bool = False
    form: str = "plain"  # of the function
    timeout: float | None = None  # of an item; some take longer, where there is one
    slow: float = 0.1  # share of these
    edits: float = 0.0  # share of tries for which somebody has changed the function
    recut: tuple[int, ...] = ()  # items in a chunk, by try; coordinators follow each other fast then
    another: float = 0.0  # share of tries that may have another input
    patience: float = 60.0  # of workers with a store that is away
    forced: dict[str, Any] = field(default_factory=dict)  # of every try

    @classmethod
    def drawn(cls, rng: random.Random, own: random.Random, shape: str = "any") -> Setting:
        """`own` draws what came later, so that seeds stay what they were."""
        drawn, forced = cls._any(rng), SHAPES[shape]
        drawn = replace(
            drawn,
            form=own.choice(editions.FORMS) if own.random() < 0.15 else "plain",
            timeout=max(1.0, 3 * drawn.seconds) if own.random() < 0.15 else None,
            edits=own.choice((0.0, 0.0, 0.2)),
            patience=own.choice((60.0, 4.0)),
        )
        mine = {name: value for name, value in forced.items() if name in cls.__slots__ and name != "chunk_size"}
        specs = {name: value for name, value in forced.items() if name in TrySpec.__slots__}
        return replace(drawn, **mine, forced=specs)

    @classmethod
    def _any(cls, rng: random.Random) -> Setting:
        items = rng.choice((0, 1, 2, 5, 8, 13, 20, 30))
        return cls(
            items=items,
            kind=rng.choice(("range", "list", "list", "iterable", "sized", "iterator", "opaque")),
            folds=rng.random() < 0.4,
            chunk_size=rng.choice((None, 1, 2, 3, 5, 8)),
            hosts=rng.choice((1, 1, 2)),
            slots=rng.choice((1, 2, 3, 5)),
            seconds=rng.choice((0.01, 0.1, 0.5, 4.0)),
            reach=rng.choice(("hosts", "hosts", "process")),
            max_bytes=rng.choice((None, None, 700)),
            weight=rng.choice((0, 0, 60, 300)),
            changed_at=rng.randrange(max(1, items)),
            padding=rng.choice((0, 0, 0, 300)),
            same_task=rng.random() < 0.7,
            fails_over=rng.random() < 0.3,
        )


@dataclass(frozen=True, slots=True)
class TrySpec:
    """One try, as its author means it. The defaults continue in the usual way."""

    mode: Mode = "continue"
    version: str = "as it was"
    code: str = "first"
    edition: str = "first"
    fold: Callable[[str, str], str] = join
    chunk_size: int | None = None
    tolerate: str = "100%"
    breaker: int = 0
    retries: int = 0
    rate: float | None = None
    speculate: bool = False
    accept: bool = False
    on_code_changed: str = "warn"
    wrong_store: bool = False
    keep_logs: bool = False
    log_lines: int = 100
    chosen: frozenset[int] | None = None
    constant: str = "one"
    timeout: float | None = None
    together: int = 100

    @classmethod
    def drawn(cls, rng: random.Random, setting: Setting) -> TrySpec:
        """A try with something special about it, once in a while."""

        def seldom(usual: Any, *others: Any, chance: float = 0.1) -> Any:
            return rng.choice(others) if rng.random() < chance else usual

        if rng.random() < 0.02:
            return cls(wrong_store=True)
        spec = cls(
            mode=seldom("continue", "fresh", "redrive", chance=0.2),
            version=seldom(*VERSIONS, chance=0.1 if setting.kind in ("range", "list") else 0.25),
            code=seldom("first", "second"),
            fold=seldom(join, join_again, chance=0.03),
            chunk_size=seldom(setting.chunk_size, None, 1, 4, 7, chance=0.3),
            tolerate=seldom("100%", "0", "2", "10%", chance=0.4),
            breaker=seldom(0, 3, chance=0.05),
            retries=seldom(0, 1, 2, chance=0.3),
            rate=seldom(None, 2.0, 20.0, chance=0.15),
            speculate=seldom(False, True, chance=0.2),
            accept=seldom(False, True),
            on_code_changed=seldom("warn", "fail", "fresh"),
            keep_logs=seldom(False, True, chance=0.3),
            log_lines=seldom(100, 0, 2),
            chosen=seldom(None, frozenset(rng.sample(range(setting.items), setting.items // 2))),
        )
        return replace(spec, **setting.forced)

    def edited(self, own: random.Random, setting: Setting) -> TrySpec:
        """The same, for which somebody has changed the function, perhaps, or waits for an item only so long."""
        changes: dict[str, Any] = {}
        if own.random() < setting.edits:
            changes["edition"] = own.choice(list(editions.EDITIONS))
            changes["on_code_changed"] = own.choice(("warn", "fail", "fresh"))
        if setting.recut:
            changes["chunk_size"] = own.choice(setting.recut)
        if own.random() < setting.another:
            changes["version"] = own.choice(VERSIONS)
        if setting.form != "plain":
            changes["together"] = own.choice((1, 2, 100))
        if setting.timeout is not None and own.random() < 0.8:
            changes["timeout"] = setting.timeout
        return replace(self, **changes) if changes else self

    def given(self) -> Given:
        """What items are given by this try."""
        return editions.given(self.edition, self.code, self.constant)

    def plan(self, setting: Setting, faults: Faults, reading: Callable[[int], None], name: str) -> ScatterSpec:
        """`reading` is told the position of each item that is read, where the input can only be walked through."""
        policy = Policy(
            chunk_size=self.chunk_size,
            chunk_bytes=CHUNK_BYTES,
            tolerate=self.tolerate,
            stop_after_same_error=self.breaker,
            item_retries=self.retries,
            rate_limit=self.rate,
            speculate=self.speculate,
            reduce=self.fold if setting.folds else None,
            on_items_changed="accept" if self.accept else "fail",
            on_code_changed=self.on_code_changed,  # type: ignore[arg-type]
            keep_logs=self.keep_logs,
            log_lines=self.log_lines,
            item_timeout=self.timeout,
            async_concurrency=self.together,
        )
        return ScatterSpec(
            fn=editions.function(self.edition, setting.form, self.code),
            source=_source(setting.kind, self.items(setting), faults, reading),
            name=name,
            consts={"constant": self.constant},
            engine_url="sim://",
            store_url="sim://",
            policy=policy,
            mode=self.mode,
            why="the story goes so",
            chosen=None if self.chosen is None else self.chosen.__contains__,
        )

    def items(self, setting: Setting) -> Sequence[object]:
        """The input of the try."""
        return inputs(setting.kind, setting.items, self.version, setting.changed_at, setting.padding)


def _source(kind: str, items: Sequence[object], faults: Faults, reading: Callable[[int], None]) -> Source:
    if kind in ("range", "list"):
        return as_source(items)
    walk = (_Sized if kind == "sized" else _Walk)(items, faults, reading)
    return as_source(iter(walk) if kind == "iterator" else walk)


class _Walk:
    """An input that can only be walked through, and breaks off at times."""

    def __init__(self, items: Sequence[object], faults: Faults, reading: Callable[[int], None]) -> None:
        self._items = items
        self._faults = faults
        self._reading = reading

    def __iter__(self) -> Iterator[object]:
        for pos, item in enumerate(self._items):
            self._reading(pos)
            if self._faults.hits("source fails"):
                raise OSError("the input cannot be read")
            yield item


class _Sized(_Walk):
    def __len__(self) -> int:
        return len(self._items)
