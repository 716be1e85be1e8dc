"""Ranges [start, stop) of positions, and the heat map that is made of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manifold.ledger.dashboard import CellSum, Piece
from manifold.protocol import outcome
from manifold.web.models import Cell

Range = tuple[int, int]
_OK, _FAILED, _SKIPPED = range(3)
_COLUMN = {outcome.OK: _OK, outcome.FAILED: _FAILED, outcome.SKIPPED: _SKIPPED}


def union(ranges: Iterable[Range]) -> list[Range]:
    """The same positions in order, in ranges that neither overlap nor touch."""
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        elif stop > start:
            found.append((start, stop))
    return found


def size(ranges: Iterable[Range]) -> int:
    """How many positions there are in ranges that do not overlap."""
    return sum(stop - start for start, stop in ranges)


def innermost(ranges: Iterable[Range]) -> list[Range]:
    """Without those that hold another one: a chunk that was cut is out in its parts."""
    found: list[Range] = []
    for start, stop in sorted(set(ranges), key=lambda one: (one[0], -one[1])):
        while found and found[-1][0] <= start and stop <= found[-1][1]:
            found.pop()
        found.append((start, stop))
    return found


def cells(
    total: int, width: int, sums: Sequence[CellSum], pieces: Sequence[Piece], flying: Iterable[Range]
) -> list[Cell]:
    """What became of [0, total) in cells of `width` items.

    Args:
        sums: of the chunks that lie wholly in a cell.
        pieces: the other chunks, each spread by its outcome.
        flying: what is sent and has no outcome.
    """
    number = -(-total // width)
    table = [[0, 0, 0] for _ in range(number)]
    for one in sums:
        if one.number < number:
            for column, count in ((_OK, one.ok), (_FAILED, one.failed), (_SKIPPED, one.skipped)):
                table[one.number][column] += count
    for piece in pieces:
        _add(table, piece, width)
    running = [0] * number
    for start, stop in union(flying):
        for at, count in _spread(start, stop, width, number):
            running[at] += count
    ends = [(at * width, min(total, (at + 1) * width)) for at in range(number)]
    return [_cell(end, row, sent) for end, row, sent in zip(ends, table, running, strict=True)]


def _cell(end: Range, row: Sequence[int], sent: int) -> Cell:
    (start, stop), (succeeded, failed, skipped) = end, row
    left = max(0, stop - start - succeeded - failed - skipped)
    running = min(sent, left)
    account = {"succeeded": succeeded, "failed": failed, "skipped": skipped}
    return Cell(start=start, stop=stop, running=running, pending=left - running, **account)


def _add(table: list[list[int]], piece: Piece, width: int) -> None:
    for letter, start, stop in outcome.spans(piece.outcome, piece.start, piece.stop):
        if letter != outcome.UNTOUCHED:
            for at, count in _spread(start, stop, width, len(table)):
                table[at][_COLUMN[letter]] += count
                if piece.layer:
                    table[at][_FAILED] -= count  # what runs again had failed below


def _spread(start: int, stop: int, width: int, number: int) -> Iterable[Range]:
    """(cell, items of it) of a range, as far as there are cells."""
    for at in range(start // width, min(number, -(-stop // width))):
        yield at, min(stop, (at + 1) * width) - max(start, at * width)
