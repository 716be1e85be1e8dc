"""Constants that each worker process makes for itself: a table, a model, a client. Made once, closed at its end."""

from __future__ import annotations

import logging
import reprlib
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from multiprocessing import util
from typing import Any

_log = logging.getLogger(__name__)


class PerWorker:
    """A recipe among a scatter's constants; a worker puts what it makes in its place. `per_worker` writes one.

    * `value()` calls the factory once, whichever thread asks first; what it raises is raised each time it is asked.
    * A context manager by `contextlib.contextmanager` is entered, and stands for what it yields.
    * At the end of the process, or when the last job that names it is forgotten: `close()`, or the exit of the
      context manager.
    """

    def __init__(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not callable(factory):
            raise TypeError(f"per_worker takes a function and its arguments, not {factory!r}")
        self.factory = factory
        self.args = args
        self.kwargs = dict(kwargs)
        self._lock = threading.Lock()
        self._made: list[Any] = []

    def __repr__(self) -> str:
        named = [f"{name}={reprlib.repr(value)}" for name, value in self.kwargs.items()]
        factory = getattr(self.factory, "__qualname__", type(self.factory).__qualname__)
        return f"per_worker({', '.join([factory, *map(reprlib.repr, self.args), *named])})"

    def __reduce__(self) -> tuple[type[PerWorker], tuple[Any, ...]]:
        # Only the recipe travels.
        return PerWorker, (self.factory, self.args, self.kwargs)

    def value(self) -> Any:
        """This process's value."""
        with self._lock:
            if not self._made:
                made = self.factory(*self.args, **self.kwargs)
                entered = AbstractContextManager in type(made).__mro__
                self._made.append(made.__enter__() if entered else made)
                _close_later(weakref.finalize(self, _close, made, entered))
            return self._made[0]


def per_worker(factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A constant that is `factory(*args, **kwargs)`, called once in each worker process.

    Use it in `.partial(weather=per_worker(load_weather))`: what is too large to send with each chunk, or cannot be
    sent at all (a database connection, a client with a socket).
    """
    return PerWorker(factory, args, kwargs)


def resolve_per_worker(consts: Mapping[str, Any]) -> dict[str, Any]:
    """`consts` with this process's values in place of the recipes. Raises what a factory raises."""
    return {name: value.value() if isinstance(value, PerWorker) else value for name, value in consts.items()}


def close_per_worker() -> None:
    """Close what this process has made. An engine's worker calls it before a process ends without running `atexit`."""
    while _open:
        _open.pop()()  # the latest first; a finalizer that has run does nothing


_open: list[weakref.finalize[Any, Any]] = []


def _close_later(finalizer: weakref.finalize[Any, Any]) -> None:
    _open[:] = [one for one in _open if one.alive]
    if not _open:
        # A finalizer runs at exit by itself, but children of multiprocessing leave by os._exit: those run this.
        util.Finalize(None, close_per_worker, exitpriority=10)
    _open.append(finalizer)


def _close(made: Any, entered: bool) -> None:
    try:
        if entered:
            made.__exit__(None, None, None)
        elif callable(close := getattr(made, "close", None)):
            close()
    except Exception:  # noqa: BLE001 - a user's code; the process is ending
        _log.warning("a per_worker value, a %s, did not close", type(made).__qualname__, exc_info=True)
