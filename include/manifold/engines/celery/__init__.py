"""Airflow's own Celery workers, for `celery://QUEUE`.

::

    coordinator: engine.py                          broker                    Celery worker: worker.py
      sender.py ────── calls (Celery tasks) ──────► QUEUE ──────────────────►   consumer.py: drops what is not a task
      broker.py ◄───── answers, heartbeats ◄─────── a queue of its own ◄────    heartbeat.py: reports what runs here
        │ inbox.py ends futures with them                                       pool_state.py: memory of the pool, which
        │ calls.py says which calls are lost                                      outlives its processes
        ▼ nodes.py knows the workers and their slots                            refusals.py: counts what was not signed

* `messages.py` holds the messages and seals calls and answers; `signing.py` signs all else and takes each message once.
* The workers' side imports nothing of the coordinator's but `broker.Publisher`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifold.engines.celery.engine import CeleryEngine as CeleryEngine


def __getattr__(name: str) -> Any:
    if name != "CeleryEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from manifold.engines.celery.engine import CeleryEngine  # which workers need not import

    return CeleryEngine
