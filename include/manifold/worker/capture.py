"""What an item's function prints or logs, by item, kept up to a bound and with secrets masked."""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from manifold.protocol.records import LogLine
from manifold.redaction import longest, mask
from manifold.text import storable
from manifold.worker import streams

_LINE = 2_000
item: ContextVar[int | None] = ContextVar("manifold_item", default=None)
"""The position of the item that this context runs; None where the chunk's thread runs its items in turn."""


class Lines:
    """The lines of one chunk, as a sink of `streams`; made by the thread that runs the chunk.

    `limit` lines are kept, the rest is counted. With `keep` set, every line also goes into `whole`, for the store.

    A line belongs to the item in whose context it was printed: the one that `item` names (each `async def` item has a
    context of its own, which its tasks, callbacks and `asyncio.to_thread` copy), else the one that `position` says.
    """

    def __init__(self, position: Callable[[], int], limit: int, *, keep: bool = False) -> None:
        self._position = position
        self._limit = limit
        self._thread = threading.get_ident()
        self._part: dict[tuple[int, str], str] = {}
        self._bytes: dict[tuple[int, str], codecs.IncrementalDecoder] = {}
        self._last = -1
        self.open = True
        self.kept: list[LogLine] = []
        self.dropped = 0
        self.whole: list[LogLine] | None = [] if keep else None

    def add(self, level: str, text: str) -> None:
        """One line, or several."""
        self._add(self._item(), level, text)

    def write(self, stream: str, text: str) -> None:
        """Text as it comes from print: lines are cut where they end."""
        pos = self._item()
        if item.get() is None and pos != self._last:  # items one after the other
            self.end(self._last)
            self._last = pos
        self._write(pos, stream, text)

    def write_bytes(self, stream: str, data: bytes, encoding: str) -> None:
        """Bytes of a stream's buffer, in whose middle a character may be cut."""
        place = self._item(), stream
        if place not in self._bytes:
            self._bytes[place] = codecs.getincrementaldecoder(encoding)("replace")
        if text := self._bytes[place].decode(data):
            self.write(stream, text)

    def end(self, pos: int) -> None:
        """The item at `pos` prints no more: what it left of a line is one."""
        for place in [place for place in (*self._bytes, *self._part) if place[0] == pos]:
            if (decoder := self._bytes.pop(place, None)) is not None:
                self._write(*place, decoder.decode(b"", final=True))
            if rest := self._part.pop(place, ""):
                self._add(*place, rest)

    def settle(self, stop: int | None) -> None:
        """Put the lines of a chunk that has ended in the order of the items.

        Those of items from `stop` on are dropped, for the receipt does not cover them.
        """
        for pos, _ in [*self._bytes, *self._part]:
            self.end(pos)
        self.kept = _settled(self.kept, stop)
        if self.whole is not None:
            self.whole = _settled(self.whole, stop)

    def close(self) -> list[LogLine]:
        """What was kept; a last line says how much was dropped."""
        self.settle(None)
        if self.dropped:
            self.kept.append(LogLine(self._position(), "info", f"… {self.dropped:,} more lines were dropped"))
        return self.kept

    def _item(self) -> int:
        pos = item.get()
        if pos is None:
            pos = self._position()
            if threading.get_ident() != self._thread:
                item.set(pos)  # in the context that the item copied for this thread, which may outlive the item
        return pos

    def _write(self, pos: int, stream: str, text: str) -> None:
        whole, newline, rest = (self._part.pop((pos, stream), "") + text).rpartition("\n")
        if rest:
            # As much as `_add` looks at: a secret is not to be cut before it is masked.
            self._part[pos, stream] = rest[: 2 * _LINE + longest()]
        if newline:
            self._add(pos, stream, whole)

    def _add(self, pos: int, level: str, text: str) -> None:
        for line in text.splitlines():
            if not line.strip():
                continue
            if self.whole is None and len(self.kept) >= self._limit:
                self.dropped += 1
                continue
            entry = LogLine(pos, storable(level), storable(mask(line[: 2 * _LINE + longest()])[:_LINE]))
            if self.whole is not None:
                self.whole.append(entry)
            if len(self.kept) < self._limit:
                self.kept.append(entry)
            else:
                self.dropped += 1


def _settled(lines: list[LogLine], stop: int | None) -> list[LogLine]:
    return sorted((line for line in lines if stop is None or line.pos < stop), key=lambda line: line.pos)


@contextmanager
def capturing(lines: Lines) -> Iterator[Lines]:
    """Within it, this thread's (or task's) prints and log records go to `lines`.

    So do those of what copies its context (`asyncio` tasks, `asyncio.to_thread`, `contextvars.copy_context().run`). A
    plain thread has a context of its own: its lines go where the worker's own do, never beside another item.
    """
    reset = item.set(None)
    try:
        with streams.going_to(lines):
            yield lines
    finally:
        item.reset(reset)
