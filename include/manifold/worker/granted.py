"""The connections and variables that a function was given, to be found in `os.environ` by that function alone.

* They are laid over `os.environ` for the thread, or the asyncio task, that runs the function; never put into it. So two
  scatters that share a process do not see each other's, no child process inherits them, and nothing is left behind.
* Where a chunk runs in the main thread, its process runs nothing else: then all of its threads see them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

_given: ContextVar[dict[str, str | None] | None] = ContextVar("manifold_given", default=None)
_for_all_threads: dict[str, str | None] | None = None
_lock = threading.Lock()
_users = 0


class _Laid(os._Environ):  # type: ignore[type-arg]
    """`os.environ` with what the running function was given on top. What it changes of that changes for it alone."""

    def __getitem__(self, name: Any) -> Any:
        given = _now()
        if name in given:
            if (value := given[name]) is None:
                raise KeyError(name)
            return value
        return super().__getitem__(name)

    def __setitem__(self, name: Any, value: Any) -> None:
        if name in (given := _now()):
            given[name] = str(value)
        else:
            super().__setitem__(name, value)

    def __delitem__(self, name: Any) -> None:
        if name in (given := _now()):
            if given[name] is None:
                raise KeyError(name)
            given[name] = None
        else:
            super().__delitem__(name)

    def __iter__(self) -> Iterator[Any]:
        given = _now()
        yield from (name for name in super().__iter__() if name not in given)
        yield from (name for name, value in given.items() if value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@contextmanager
def given(environment: Mapping[str, str]) -> Iterator[None]:
    """Within it, this thread (or task) finds these in `os.environ`, and none that another function was given."""
    global _for_all_threads
    if not environment and not _users:
        yield
        return
    mine: dict[str, str | None] = dict(environment)
    alone = threading.current_thread() is threading.main_thread()
    reset = _given.set(mine)
    _lay(1)
    before, _for_all_threads = _for_all_threads, mine if alone else _for_all_threads
    try:
        yield
    finally:
        if alone:
            _for_all_threads = before
        _lay(-1)
        _given.reset(reset)


def register(hide: list[str]) -> None:
    """Tell Airflow's own masker, where this process has it, for what it logs by itself."""
    if (log := sys.modules.get("airflow.sdk.log")) is not None:
        for text in hide:
            with suppress(Exception):
                log.mask_secret(text)


def _now() -> dict[str, str | None]:
    mine = _given.get()
    return mine if mine is not None else _for_all_threads or {}


def _lay(users: int) -> None:
    """Change the class of `os.environ` for as long as somebody was given something."""
    global _users
    with _lock:
        _users += users
        os.environ.__class__ = _Laid if _users else os._Environ
