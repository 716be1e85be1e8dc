"""What became of each item of a chunk, as a run-length code: `o120f1o3` is 120 ok, one failed, three ok.

| letter | meaning |
|---|---|
| `o` | ok: it has a result |
| `f` | failed |
| `s` | skipped |
| `.` | not touched; only in overlays, where a lower layer says what became of it |

None stands for "all ok", the outcome of nearly every chunk. The code is canonical: no empty run, and no two
neighbouring runs with the same letter, so equal outcomes have equal codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

OK, FAILED, SKIPPED, UNTOUCHED = "o", "f", "s", "."

_LETTERS = re.compile(r"o+|f+|s+|\.+")
_RUN = re.compile(r"([ofs.])([1-9][0-9]*)")


class Counts(NamedTuple):
    """How many items of a chunk came to each end."""

    ok: int = 0
    failed: int = 0
    skipped: int = 0
    untouched: int = 0

    @property
    def touched(self) -> int:
        return self.ok + self.failed + self.skipped


def encode(letters: str) -> str | None:
    """The code of one letter per item, such as `"ooofo"`; None where all are ok (or there are none).

    Raises ValueError for any other letter.
    """
    if letters.count(OK) == len(letters):
        return None
    runs = [(match[0][0], len(match[0])) for match in _LETTERS.finditer(letters)]
    if sum(count for _, count in runs) != len(letters):
        raise ValueError(f"outcomes are told by the letters o, f, s and '.', not {''.join(sorted(set(letters)))!r}")
    return join(runs)


def join(runs: Iterable[tuple[str, int]]) -> str | None:
    """The code of (letter, count) runs; neighbours with the same letter are merged, empty runs dropped."""
    merged: list[tuple[str, int]] = []
    for letter, count in runs:
        if merged and merged[-1][0] == letter:
            merged[-1] = (letter, merged[-1][1] + count)
        elif count:
            merged.append((letter, count))
    if all(letter == OK for letter, _ in merged):
        return None
    return "".join(f"{letter}{count}" for letter, count in merged)


def decode(code: str | None, length: int) -> list[tuple[str, int]]:
    """The runs of a chunk of `length` items, as (letter, count). Raises ValueError where the code does not fit."""
    if code is None:
        return [(OK, length)] if length else []
    runs = [(match[1], int(match[2])) for match in _RUN.finditer(code)]
    if join(runs) != code:
        raise ValueError(f"{code!r} is not an outcome such as 'o120f1o3'")
    if sum(count for _, count in runs) != length:
        raise ValueError(f"the outcome {code!r} is not that of {length} items")
    return runs


def spans(code: str | None, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
    """The runs of the chunk [start, stop) with their positions, as (letter, from, to)."""
    position = start
    for letter, count in decode(code, stop - start):
        yield letter, position, position + count
        position += count


def positions(code: str | None, start: int, stop: int, letters: str) -> Iterator[int]:
    """The positions of the chunk [start, stop) whose outcome is one of `letters`, in order."""
    for letter, first, last in spans(code, start, stop):
        if letter in letters:
            yield from range(first, last)


def count(code: str | None, length: int) -> Counts:
    """How many of the `length` items came to each end. Raises ValueError where the code does not fit."""
    sums = dict.fromkeys((OK, FAILED, SKIPPED, UNTOUCHED), 0)
    for letter, number in decode(code, length):
        sums[letter] += number
    return Counts(*sums.values())
