"""The beginning of an input: to try a scatter on a few items of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from manifold.abc import Source
from manifold.errors import ConfigError


class FirstSource(Source):
    """The first `n` items of another input, or all of them where it has fewer."""

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
