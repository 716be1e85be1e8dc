"""Constants that each worker process makes for itself: a table, a model, a client. Made once, closed at its end.

For an `async def` function they are made on the event loop of the worker's thread, once for each such loop, because a
client or a lock is good on the loop alone that it was made on.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import reprlib
import threading
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from multiprocessing import util
from traceback import format_exc
from typing import Any

from manifold.redaction import mask
from manifold.worker import forks, interrupts

_log = logging.getLogger(__name__)

Closer = Callable[[], Awaitable[None]]
"""Closes a value on the loop that it was made on."""


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
                made = self._make()
                if inspect.iscoroutine(made):
                    made.close()
                    raise TypeError(f"{self!r}: its factory is `async def`, so the function must be, too")
                entered = AbstractContextManager in type(made).__mro__
                self._made.append(made.__enter__() if entered else made)
                close_later(weakref.finalize(self, _close, made, entered))
            return self._made[0]

    async def value_on_loop(self, closers: list[Closer]) -> Any:
        """A value of the running loop's own; what closes it is added to `closers`.

        What the factory returns is awaited where it can be, and entered where it is a context manager, an asynchronous
        one too. It is closed by its exit, `aclose()` or `close()`.
        """
        made = self._make()
        if AbstractAsyncContextManager not in type(made).__mro__ and inspect.isawaitable(made):
            made = await made
        kinds = type(made).__mro__
        if AbstractAsyncContextManager in kinds:
            value = await made.__aenter__()
            closers.append(_closer(lambda: made.__aexit__(None, None, None)))
        elif AbstractContextManager in kinds:
            value = made.__enter__()
            closers.append(_closer(lambda: made.__exit__(None, None, None)))
        else:
            value = made
            closers.append(_closer(getattr(made, "aclose", None) or getattr(made, "close", None)))
        return value

    def _make(self) -> Any:
        try:
            return self.factory(*self.args, **self.kwargs)
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as exc:
            interrupts.pass_on(exc)
            # By its own account it wants the process to end; what fails is the set-up of this function alone.
            raise RuntimeError(f"{self!r} raised {type(exc).__name__}: {exc}") from exc


def per_worker(factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A constant that is `factory(*args, **kwargs)`, called once in each worker process.

    Use it in `.partial(weather=per_worker(load_weather))`: what is too large to send with each chunk, or cannot be
    sent at all (a database connection, a client with a socket).
    """
    return PerWorker(factory, args, kwargs)


def resolve_per_worker(consts: Mapping[str, Any]) -> dict[str, Any]:
    """`consts` with this process's values in place of the recipes. Raises what a factory raises."""
    return {name: value.value() if isinstance(value, PerWorker) else value for name, value in consts.items()}


async def resolve_on_loop(consts: Mapping[str, Any], closers: list[Closer]) -> dict[str, Any]:
    """The same for an `async def` function: values of the running loop, each closed by one of `closers`."""
    made: dict[int, Any] = {}
    for value in consts.values():
        if isinstance(value, PerWorker) and id(value) not in made:
            made[id(value)] = await value.value_on_loop(closers)
    return {name: made[id(value)] if isinstance(value, PerWorker) else value for name, value in consts.items()}


def close_per_worker() -> None:
    """Close what this process has made. An engine's worker calls it before a process ends without running `atexit`."""
    while _open:
        _open.pop()()  # the latest first; a finalizer that has run does nothing


_open: list[weakref.finalize[Any, Any]] = []


def close_later(finalizer: weakref.finalize[Any, Any]) -> None:
    """Have `close_per_worker`, or the end of the process, call this finalizer."""
    forks.in_child(_in_child)
    _open[:] = [one for one in _open if one.alive]
    if not _open:
        # A finalizer runs at exit by itself, but children of multiprocessing leave by os._exit: those run this.
        util.Finalize(None, close_per_worker, exitpriority=10)
    _open.append(finalizer)


def _in_child() -> None:
    """What the parent made is the parent's: a child that closed a connection would close its parent's as well."""
    _inherited.extend(finalizer.detach() for finalizer in _open)
    _open.clear()


_inherited: list[Any] = []  # by a forked child, and never collected there


def _closer(close: Callable[[], Any] | None) -> Closer:
    async def closer() -> None:
        if callable(close) and inspect.isawaitable(closing := close()):
            await closing

    return closer


def _close(made: Any, entered: bool) -> None:
    try:
        if entered:
            made.__exit__(None, None, None)
        elif callable(close := getattr(made, "close", None) or getattr(made, "aclose", None)):
            closing = close()
            if inspect.iscoroutine(closing):
                asyncio.run(closing)  # made for a function that has loops of its own
    except BaseException as exc:  # noqa: BLE001 - a user's code; the process is ending
        interrupts.pass_on(exc)
        _log.warning("a per_worker value, a %s, did not close:\n%s", type(made).__qualname__, mask(format_exc()))
