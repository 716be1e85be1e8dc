"""What an item's function prints or logs, by item, kept up to a bound and with secrets masked."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from manifold.protocol.records import LogLine
from manifold.redaction import longest, mask
from manifold.visible import storable

_LINE = 2_000
_active: ContextVar[Lines | None] = ContextVar("manifold_lines", default=None)


class Lines:
    """The lines of one chunk. `position` tells which item runs; `limit` lines are kept, the rest is counted.

    With `keep` set, every line also goes into `whole`, for the store.
    """

    def __init__(self, position: Callable[[], int], limit: int, *, keep: bool = False) -> None:
        self._position = position
        self._limit = limit
        self._part: dict[str, str] = {}
        self.kept: list[LogLine] = []
        self.dropped = 0
        self.whole: list[LogLine] | None = [] if keep else None

    def add(self, level: str, text: str) -> None:
        """One line, or several."""
        for line in text.splitlines():
            if not line.strip():
                continue
            entry = LogLine(self._position(), storable(level), storable(mask(line[: 2 * _LINE + longest()])[:_LINE]))
            if self.whole is not None:
                self.whole.append(entry)
            if len(self.kept) < self._limit:
                self.kept.append(entry)
            else:
                self.dropped += 1

    def write(self, stream: str, text: str) -> None:
        """Text as it comes from print: lines are cut where they end."""
        whole, newline, rest = (self._part.get(stream, "") + text).rpartition("\n")
        self._part[stream] = rest[: 2 * _LINE + longest()]  # what `add` looks at: no secret is cut before it is masked
        if newline:
            self.add(stream, whole)

    def close(self) -> list[LogLine]:
        """What was kept; a last line says how much was dropped."""
        for stream, rest in self._part.items():
            self.add(stream, rest)
        if self.dropped:
            self.kept.append(LogLine(self._position(), "info", f"… {self.dropped:,} more lines were dropped"))
        return self.kept


@contextmanager
def capturing(lines: Lines) -> Iterator[Lines]:
    """Within it, this thread's (or task's) prints and log records go to `lines`, and nowhere else."""
    _install()
    reset = _active.set(lines)
    try:
        yield lines
    finally:
        _active.reset(reset)


class _Stream(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr: to the chunk that this thread runs, else to the real one."""

    def __init__(self, name: str, real: TextIO) -> None:
        self._name = name
        self._real = real

    def write(self, text: str) -> int:
        lines = _active.get()
        if lines is None:
            return self._real.write(text)
        lines.write(self._name, text)
        return len(text)

    def flush(self) -> None:
        if _active.get() is None:
            self._real.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        lines = _active.get()
        if lines is not None:
            lines.add(record.levelname.lower(), self.format(record))


def _install() -> None:
    """Once per process, and again where somebody has replaced the streams since."""
    if not isinstance(sys.stdout, _Stream):
        sys.stdout = _Stream("stdout", sys.stdout)
    if not isinstance(sys.stderr, _Stream):
        sys.stderr = _Stream("stderr", sys.stderr)
    root = logging.getLogger()
    if not any(isinstance(handler, _Handler) for handler in root.handlers):
        handler = _Handler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        root.addHandler(handler)
