"""What the contract tests let an engine run. Workers import this module, so it needs nothing but the library itself."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from manifold.worker import beat

PATIENCE = 60.0
"""Seconds after which a call gives up waiting for its test."""


class Refused(Exception):
    """An error of a user's, with arguments of its own."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Untravelled(Exception):
    """An error that pickles and does not come back, for its arguments are not those of `__init__`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


def echo(value: Any) -> Any:
    return value


def keywords(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def refuse(code: int, reason: str) -> NoReturn:
    raise Refused(code, reason)


def raise_what_does_not_travel() -> NoReturn:
    raise Untravelled(7, "seven")


def return_what_does_not_travel() -> Any:
    return threading.Lock()


def leave(code: int) -> NoReturn:
    sys.exit(code)


def is_none(value: object) -> bool:
    return value is None


def pid() -> int:
    return os.getpid()


def hold(folder: str, name: str, position: int | None = None) -> int:
    """Say in `folder` that `name` began, with this process's id, and return that id once the folder has a file `go`.

    With `position`, report it as the place in a chunk. Returns early when the engine asks the call to stop.
    """
    stopped = threading.Event()
    call = beat.current()
    call.stop = stopped.set
    if position is not None:
        call.position = lambda: position
    began = Path(folder, f"{name}.began")
    began.with_suffix(".part").write_text(str(os.getpid()))
    began.with_suffix(".part").rename(began)
    return _until(lambda: Path(folder, "go").exists() or stopped.is_set(), os.getpid())


def _until(condition: Callable[[], bool], result: int) -> int:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the test that this call waits for is gone")
        time.sleep(0.01)
    return result
