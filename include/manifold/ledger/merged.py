"""What became of each item when re-runs lie over the base: the highest layer that touched it says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import msgspec

from manifold.protocol import outcome
from manifold.protocol.records import ChunkRow


class Run(NamedTuple):
    """Neighbouring items with the same outcome, told by the same chunk row."""

    letter: str
    start: int
    stop: int
    row: ChunkRow


class MergedRow(msgspec.Struct, frozen=True):
    """One chunk of the base with the re-runs that lie over it, lowest layer first."""

    base: ChunkRow
    overlays: tuple[ChunkRow, ...] = ()

    def runs(self) -> list[Run]:
        """The chunk's items in order, each in one run; neighbouring runs differ in outcome or in row."""
        base = self.base
        if not self.overlays:
            return [Run(*span, base) for span in outcome.spans(base.outcome, base.start, base.stop)]
        rows = (base, *self.overlays)
        letters = [outcome.UNTOUCHED] * (base.stop - base.start)
        tellers = [0] * len(letters)
        for teller, row in enumerate(rows):
            for letter, start, stop in outcome.spans(row.outcome, row.start, row.stop):
                if letter != outcome.UNTOUCHED:
                    where = slice(start - base.start, stop - base.start)
                    letters[where] = [letter] * (stop - start)
                    tellers[where] = [teller] * (stop - start)
        runs, position = [], base.start
        for (letter, teller), same in groupby(zip(letters, tellers, strict=True)):
            stop = position + sum(1 for _ in same)
            runs.append(Run(letter, position, stop, rows[teller]))
            position = stop
        return runs


def merge(bases: Iterable[ChunkRow], overlays: Iterable[ChunkRow]) -> Iterator[MergedRow]:
    """Each base chunk with its overlays. Both by `start`; every overlay lies inside one of the bases."""
    waiting = iter(overlays)
    overlay = next(waiting, None)
    for base in bases:
        above = []
        while overlay is not None and overlay.start < base.stop:
            above.append(overlay)
            overlay = next(waiting, None)
        yield MergedRow(base, tuple(sorted(above, key=lambda one: one.layer)))
