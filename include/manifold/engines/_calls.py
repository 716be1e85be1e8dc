"""A call and a worker, as a `Desk` sees them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, eq=False)
class Sent:
    """A call. `worker` and `position` are set once a process is known to have begun it.

    Attributes:
        message: what `pack` made of it.
        node: the worker that it was handed to.
        handed: to how many workers, until now.
        excused: losing it would prove no death: it was told to end, or the connection was away.
        unwanted: it was told to end, so no other worker gets it.
        handle: the adapter's own.
    """

    id: str
    future: Future[Any]
    message: bytes = b""
    node: str = ""
    handed: int = 0
    worker: str | None = None
    position: int | None = None
    overdue: bool = False
    excused: bool = False
    unwanted: bool = False
    handle: Any = None


@dataclass(slots=True)
class Node:
    """A worker by its latest sign of life: a host, the processes that run calls there, and how many run at once."""

    host: str
    pids: tuple[int, ...]
    slots: int
    trouble: str = ""
    """Why it takes no calls, as it says itself; "" where it does."""
    at: float = 0.0
    handed: int = 0


def worker_name(host: str, pid: int) -> str:
    """Return what a process is called, as receipts name it too."""
    return f"{host}:{pid}"
