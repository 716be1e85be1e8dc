"""What several tests use: functions that stay themselves on their way to a thread, a monitor that keeps notices."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from manifold import events
from manifold.abc import Monitor

_held: dict[str, Callable[..., Any]] = {}


class Notices(Monitor):
    """Keeps the texts of the notices."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.Notice):
            self.texts.append(event.text)


class Proxy:
    """Is pickled as a name; called, it is the function that the test holds."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.__name__ = self.__qualname__ = "proxy"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _held[self._token](*args, **kwargs)


@contextmanager
def ByReference(fn: Callable[..., Any], slots: int = 2) -> Iterator[tuple[ThreadPoolExecutor, Proxy]]:
    """An executor of `slots` threads, and a stand-in for `fn` to scatter over it."""
    token = uuid.uuid4().hex
    _held[token] = fn
    try:
        with ThreadPoolExecutor(slots) as executor:
            yield executor, Proxy(token)
    finally:
        del _held[token]
