"""Worker processes of this host, for `processes://`.

::

    coordinator ── control socket ──► fork server (a fresh interpreter, one thread)
      pool.py                           forkserver.py │ forks, reaps, reports, kills
        │                                             ▼
        └────────── one socket and one page of shared memory each ─────► worker (child.py)
             frames.py: calls and results            status_page.py: what it runs, and how far it is

* Each worker has a socket of its own, so one that is killed in the middle of a message harms nobody else's.
* The page survives the worker: whether it had begun a call, and how far, is known after a SIGKILL too.
* Workers come from a fresh interpreter: nothing of the coordinator's threads, locks, sockets or `__main__` is theirs.
* The fork server kills all workers once the coordinator is gone, whatever they are busy with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifold.engines.processes.engine import ProcessesEngine as ProcessesEngine


def __getattr__(name: str) -> Any:
    if name != "ProcessesEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from manifold.engines.processes.engine import ProcessesEngine  # which workers need not import

    return ProcessesEngine
