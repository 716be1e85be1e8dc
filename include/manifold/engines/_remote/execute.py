"""A call, in a process of a worker's: the only place that unpickles it."""

from __future__ import annotations

import socket

import psutil

from manifold.engines.payload import dump_error, dump_value
from manifold.errors import EngineError
from manifold.protocol import envelope, scope
from manifold.worker import beat


def run(pickled: bytes, max_memory: int | None) -> tuple[bool, bytes]:
    """Run a call; return whether it returned, and the result or the exception, pickled.

    Args:
        pickled: function, positional and keyword arguments, of a message whose signature was checked.
        max_memory: bytes; a process that has more afterwards is replaced by a fresh one.
    """
    try:
        with scope.within(scope.Scope()):  # what was sent, not what this host has of that name
            fn, args, kwargs = envelope.loads(pickled)
    except Exception as exc:  # noqa: BLE001 - unpickling runs a user's code
        why = f"{socket.gethostname()} cannot unpickle the call: {type(exc).__name__}: {exc}. Is a package missing?"
        return False, dump_error(EngineError(why))
    try:
        return True, dump_value(fn(*args, **kwargs))
    except BaseException as exc:  # noqa: BLE001 - whatever a call raises is that call's outcome
        return False, dump_error(exc)
    finally:
        if max_memory is not None and psutil.Process().memory_info().rss > max_memory:
            beat.current().retire()
