"""`sys.stdout`, `sys.stderr` and logging, while an item runs: its thread's text goes to a sink, all else where it went.

Everything is put in place when the first chunk of this process begins and taken away when the last one ends, so that a
caller whose items run in its own process finds its streams and its logging as they were.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, TextIO

from manifold.worker import forks


class Sink(Protocol):
    """Where an item's text goes. `open`: it takes text still."""

    open: bool

    def add(self, level: str, text: str) -> None:
        """Take whole lines."""

    def write(self, stream: str, text: str) -> None:
        """Take text as it comes from print."""

    def write_bytes(self, stream: str, data: bytes, encoding: str) -> None:
        """Take bytes that were written to a stream's buffer."""


_sink: ContextVar[Sink | None] = ContextVar("manifold_sink", default=None)
_lock = threading.Lock()
_users = 0


def sink() -> Sink | None:
    """The sink of this thread or task; None where no item runs, or the chunk of the item has ended."""
    found = _sink.get()
    return found if found is not None and found.open else None


@contextmanager
def going_to(taker: Sink) -> Iterator[None]:
    """Within it, what this thread (or what copies its context) prints and logs goes to `taker`."""
    _enter()
    reset = _sink.set(taker)
    try:
        yield
    finally:
        taker.open = False
        _sink.reset(reset)
        _leave()


class Stream(io.TextIOBase):
    """Stands in for sys.stdout or sys.stderr: to the item that this thread runs, else to the real one.

    It is a text stream like any other. What needs a descriptor (a subprocess, `faulthandler`) gets the real one's.
    """

    def __init__(self, name: str, real: TextIO | None) -> None:
        self._name = name
        self._real = real
        self._buffer = _Buffer(name, self)

    @property
    def real(self) -> TextIO | None:
        """The stream that this one stands in for."""
        return self._real

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        taker = sink()
        if taker is not None:
            taker.write(self._name, text)
        elif self._real is not None:
            self._real.write(text)
        return len(text)

    def flush(self) -> None:
        if sink() is None and self._real is not None:
            self._real.flush()

    def close(self) -> None:
        """Flush; the real stream is not an item's to close."""
        self.flush()

    def fileno(self) -> int:
        streams: tuple[Any, ...] = self._real, getattr(sys, f"__{self._name}__")
        for stream in streams:
            with suppress(Exception):  # whatever a stream of another kind raises, or has not
                return int(stream.fileno())
        raise io.UnsupportedOperation(f"{self._name} has no file descriptor here")

    def isatty(self) -> bool:
        return sink() is None and self._real is not None and self._real.isatty()

    def writable(self) -> bool:
        return True

    def reconfigure(self, **options: Any) -> None:
        """As `io.TextIOWrapper` has it; within an item it changes nothing, for the stream is not the item's."""
        change = getattr(self._real, "reconfigure", None)
        if sink() is None and change is not None:
            change(**options)

    @property
    def buffer(self) -> io.RawIOBase:
        return self._buffer

    @property
    def closed(self) -> bool:
        return bool(getattr(self._real, "closed", False))

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._real, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return getattr(self._real, "errors", None) or "strict"

    @property
    def newlines(self) -> Any:  # type: ignore[override]
        return getattr(self._real, "newlines", None)

    @property
    def line_buffering(self) -> bool:
        return bool(getattr(self._real, "line_buffering", False))

    @property
    def write_through(self) -> bool:
        return bool(getattr(self._real, "write_through", False))

    @property
    def name(self) -> str:
        return getattr(self._real, "name", None) or f"<{self._name}>"

    @property
    def mode(self) -> str:
        return getattr(self._real, "mode", None) or "w"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Buffer(io.RawIOBase):
    """The bytes below a `Stream`."""

    def __init__(self, name: str, stream: Stream) -> None:
        self._name = name
        self._stream = stream

    def write(self, data: Any) -> int:
        raw = bytes(memoryview(data))
        if (taker := sink()) is not None:
            taker.write_bytes(self._name, raw, self._stream.encoding)
            return len(raw)
        below = getattr(self._stream.real, "buffer", None)
        if below is not None:
            below.write(raw)
        else:
            self._stream.write(raw.decode(self._stream.encoding, "replace"))
        return len(raw)

    def flush(self) -> None:
        below = getattr(self._stream.real, "buffer", None)
        if sink() is None and below is not None:
            below.flush()

    def close(self) -> None:
        """Flush: `io.TextIOWrapper(sys.stdout.buffer)` closes what it wraps when it is collected."""
        self.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True


class _Handler(logging.Handler):
    """Of the root logger, while items run."""

    def emit(self, record: logging.LogRecord) -> None:
        if (taker := sink()) is None:
            self._as_without(record)
            return
        try:
            taker.add(record.levelname.lower(), self.format(record))
        except Exception:  # noqa: BLE001 - as every handler does: a wrong format string is not an error of the item's
            self.handleError(record)

    def _as_without(self, record: logging.LogRecord) -> None:
        """The last resort of logging, which it takes only where a record finds no handler at all."""
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not _other_handlers(record.name, self):
            last.handle(record)


def _other_handlers(name: str, ours: logging.Handler) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(handler is not ours for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


_handler = _Handler()
_handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))


def _enter() -> None:
    global _users
    forks.in_child(_in_child)
    with _lock:
        _users += 1
        if _users == 1:
            for name in ("stdout", "stderr"):
                _replace(name)
            logging.getLogger().addHandler(_handler)


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            _restore()


def _replace(name: str) -> None:
    real = getattr(sys, name)
    if isinstance(real, Stream):  # put back by a `redirect_stdout` that began during an earlier chunk
        real = real.real
    setattr(sys, name, Stream(name, real))  # one that somebody holds still knows what it stands for


def _restore() -> None:
    root = logging.getLogger()
    root.removeHandler(_handler)
    for handler in root.handlers:
        # An item made it, by importing what sets logging up (Airflow does): its lines would come twice from now on.
        if isinstance(handler, logging.StreamHandler) and isinstance(handler.stream, Stream):
            handler.setStream(handler.stream.real)
    for name in ("stdout", "stderr"):
        current = getattr(sys, name)
        if isinstance(current, Stream):  # else somebody has put another one in its place since
            setattr(sys, name, current.real)


def _in_child() -> None:
    """A forked child prints where the worker does: nobody sends its lines anywhere."""
    global _lock, _users
    _lock = threading.Lock()
    if (taker := _sink.get()) is not None:
        taker.open = False
    if _users:
        _users = 0
        _restore()
