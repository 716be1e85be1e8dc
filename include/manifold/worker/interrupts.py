"""Signals that really came, told from exceptions that an item raises by itself.

A KeyboardInterrupt, SystemExit or GeneratorExit that an item raises is that item's outcome, like any other exception.
Only what a signal's handler has raised in the midst of an item (Ctrl-C in the main thread) ends the chunk.
"""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from manifold.protocol.proof import pass_on as pass_on
from manifold.worker import forks

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Knows what signal handlers have raised while a chunk ran."""

    def __init__(self) -> None:
        self._raised: BaseException | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within it, what the handlers of this process raise is noted."""
        if forks.quiet() or threading.current_thread() is not threading.main_thread():
            yield  # signals are handled in the main thread only
            return
        forks.in_child(_unwatch)
        _watching.append(self)
        if len(_watching) == 1:
            _watch()
        try:
            yield
        finally:
            _watching.remove(self)
            if not _watching:
                _unwatch()

    def check(self) -> None:
        """Raise what a signal's handler has raised, if one has; else what an item raises is its own."""
        if self._raised is not None:
            raise self._raised

    def note(self, exc: BaseException) -> None:
        """A signal's handler raises this."""
        self._raised = exc


def is_awaitable(value: Any) -> bool:
    """Return whether a result is to be awaited."""
    try:
        return inspect.isawaitable(value)
    except BaseException as exc:  # noqa: BLE001 - a user's class may answer by raising whatever it likes
        pass_on(exc)
        return False


class _Noting:
    """The handler of a signal, which says what it raises."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self.before = before

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        try:
            return self.before(number, frame)
        except BaseException as exc:
            for interrupts in _watching:
                interrupts.note(exc)
            raise


_watching: list[Interrupts] = []


def _watch() -> None:
    for number in _SIGNALS:
        if callable(before := signal.getsignal(number)):
            signal.signal(number, _Noting(before))


def _unwatch() -> None:
    """Put back the handlers that were there; not in the place of one that somebody has set since."""
    for number in _SIGNALS:
        if isinstance(handler := signal.getsignal(number), _Noting):
            signal.signal(number, handler.before)
