"""What these tests let workers run. It travels by value, as the functions of a DAG's helper modules do."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import cloudpickle

from manifold.worker import beat


def never_yield(position: int) -> None:
    """Stand for a chunk whose item at `position` has ignored its timeout."""
    call = beat.current()
    began = time.monotonic()
    call.position, call.deadline = (lambda: position), (lambda: began + 1.0)
    time.sleep(60)


def never_let_go(position: int) -> None:
    """The same, but the item does not even let another thread of its process run."""
    call = beat.current()
    began = time.monotonic()
    call.position, call.deadline = (lambda: position), (lambda: began + 1.0)
    time.sleep(0.6)  # as chunks run many items, most of which let go
    keep_the_interpreter(60)


def keep_the_interpreter(seconds: int) -> float:
    """Let no other thread of the process run, as some C extensions do; returns for how long."""
    began = time.monotonic()
    ctypes.PyDLL(None).sleep(seconds)  # PyDLL, unlike CDLL, keeps the interpreter's lock
    return time.monotonic() - began


def die_at(position: int) -> None:
    """Stand for a chunk whose item at `position` kills its process."""
    call = beat.current()
    call.position = lambda: position
    call.report()
    os.kill(os.getpid(), signal.SIGKILL)


def count(folder: str, seconds: float) -> int:
    """How often this has been called with the folder, after so many seconds."""
    Path(folder, uuid.uuid4().hex).touch()
    time.sleep(seconds)
    return len(list(Path(folder).iterdir()))


class Touch:
    """Makes the file `path` when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path(self.path).touch, ()


cloudpickle.register_pickle_by_value(sys.modules[__name__])
