"""Inputs made of others: the first items of one, and several walked in step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from manifold.abc import Source
from manifold.errors import ConfigError
from manifold.protocol.digests import item_digest
from manifold.text import counted

_AHEAD = 64  # items read of each input at a time


class FirstSource(Source):
    """The first `n` items of another input, or all of them where it has fewer: to try a scatter on a few of many."""

    kind = "first"

    def __init__(self, part: Source, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ConfigError(f"first(items, {n!r}): the number of items must be a whole number, at least 0")
        self._part = part
        self._n = n
        self._read = 0
        self.one_shot = part.one_shot
        self.sliceable = part.sliceable

    def __repr__(self) -> str:
        return f"first({self._part!r}, {self._n})"

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        return self._part.pin(pinned)

    def fingerprint(self) -> str | None:
        part = self._part.fingerprint()
        return None if part is None else f"first:{self._n}:{part}"

    def total(self) -> int | None:
        total = self._part.total()
        return None if total is None else min(self._n, total)

    def read(self, start: int = 0) -> Iterator[Any]:
        for read, item in enumerate(islice(self._part.read(start), max(0, self._n - start)), start + 1):
            self._read = read
            yield item

    def slice(self, start: int, stop: int) -> Sequence[Any]:
        return self._part.slice(start, min(stop, self._n)) if start < self._n else []

    def changes(self) -> str | None:
        return self._part.changes()

    def share_read(self) -> float | None:
        return max(self._part.share_read() or 0.0, self._read / self._n if self._n else 1.0)


class ZippedSource(Source):
    """Several inputs walked in step, with items that are tuples in the order of the keywords.

    `zipped(a=xs, b=ys)`: (xs[0], ys[0]), (xs[1], ys[1]), … and a ConfigError where one ends before the other."""

    kind = "zipped"

    def __init__(self, parts: Mapping[str, Source]) -> None:
        if not parts:
            raise ConfigError("nothing to walk over: name at least one input, as in over(url=urls)")
        self._parts = dict(parts)
        self.one_shot = any(part.one_shot for part in parts.values())
        self.sliceable = all(part.sliceable for part in parts.values())

    def __repr__(self) -> str:
        return f"zipped({', '.join(f'{name}={part!r}' for name, part in self._parts.items())})"

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        made = {name: part.pin(None if pinned is None else pinned.get(name)) for name, part in self._parts.items()}
        known = {name: total for name, part in self._parts.items() if (total := part.total()) is not None}
        if len(set(known.values())) > 1:
            raise _unequal(" and ".join(f"{name} has {counted(length, 'item')}" for name, length in known.items()))
        return made

    def fingerprint(self) -> str | None:
        parts = {name: part.fingerprint() for name, part in self._parts.items()}
        return None if None in parts.values() else f"zipped:whole:{item_digest(list(parts.items()))}"

    def total(self) -> int | None:
        totals = [part.total() for part in self._parts.values()]
        return None if None in totals else totals[0]

    def read(self, start: int = 0) -> Iterator[tuple[Any, ...]]:
        walks = [part.read(start) for part in self._parts.values()]
        at = start
        while True:
            blocks = [list(islice(walk, _AHEAD)) for walk in walks]
            lengths = [len(block) for block in blocks]
            yield from zip(*blocks, strict=False)
            if len(set(lengths)) > 1:
                raise _unequal(self._who_ended(at, lengths))
            if lengths[0] < _AHEAD:
                return
            at += _AHEAD

    def slice(self, start: int, stop: int) -> list[tuple[Any, ...]]:
        return list(zip(*(part.slice(start, stop) for part in self._parts.values()), strict=True))

    def changes(self) -> str | None:
        found = [f"{name}: {change}" for name, part in self._parts.items() if (change := part.changes())]
        return "; ".join(found) or None

    def share_read(self) -> float | None:
        return next((share for part in self._parts.values() if (share := part.share_read()) is not None), None)

    def _who_ended(self, at: int, lengths: list[int]) -> str:
        shortest = min(lengths)
        ended = [name for name, length in zip(self._parts, lengths, strict=True) if length == shortest]
        longer = [name for name in self._parts if name not in ended]
        verb = "has" if len(longer) == 1 else "have"
        where = f"ended after {counted(at + shortest, 'item')}"
        return f"{' and '.join(ended)} {where}, where {' and '.join(longer)} {verb} more"


def _unequal(how: str) -> ConfigError:
    return ConfigError(f"inputs that are walked in step must be equally long: {how}")
