"""The Celery workers that a coordinator hears of: how much they can take, and what would keep them from it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from celery import Celery

from manifold.engines.celery import messages as ms
from manifold.engines.celery.calls import Sent
from manifold.protocol.records import WorkerInfo

_GONE = 5.0  # seconds of listening without a word after which a worker's slots do not count
_FORGOTTEN = 60.0
_IMPORTS = """AIRFLOW__CELERY__EXTRA_CELERY_CONFIG='{"imports": ["manifold.engines.celery.worker"]}'"""


class Nodes:
    """Who serves `queue`, as of the latest word of each worker. Times are listening time.

    `refused` counts the unsigned calls that they have reported. Who was silent for longer than `silence` is lost, and
    still known for a while.
    """

    def __init__(self, queue: str, silence: float = 0.0) -> None:
        self._queue = queue
        self._forgotten = max(_FORGOTTEN, 3 * silence)
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, str], tuple[ms.Serving, float]] = {}  # by name and life
        self.refused = 0
        self._ignored = ""

    def heard(self, serving: ms.Serving, now: float) -> None:
        if self._queue not in serving.queues:
            return
        with self._lock:
            me = serving.node, serving.life
            before, _ = self._latest.get(me, (None, 0.0))
            known = before.refused if before is not None and before.pid == serving.pid else 0
            self.refused += max(0, serving.refused - known)
            self._latest[me] = (serving, now)
            for one, (last, at) in list(self._latest.items()):
                if now - at > self._forgotten:
                    del self._latest[one]
                elif last.node == serving.node and one != me:  # another has its name by now, so it is gone
                    self._latest[one] = last, min(at, now - _GONE - ms.BEAT)

    def ignored(self, why: str) -> None:
        """Somebody spoke, without a signature that counts."""
        self._ignored = why

    def live(self, now: float) -> list[ms.Serving]:
        """The workers that take messages of the queue."""
        with self._lock:
            latest = list(self._latest.values())
        return [serving for serving, at in latest if now - at <= _GONE and not serving.leaving]

    def slots(self, now: float) -> int:
        """Slots for calls, busy or not: those that Airflow's own tasks take now are not among them."""
        return sum(max(0, serving.slots - serving.others) for serving in self.live(now))

    def workers(self, now: float, calls: Iterable[Sent]) -> list[WorkerInfo]:
        """Every process of every worker that has reported lately."""
        holding: dict[str | None, list[Sent]] = {}
        for call in calls:
            holding.setdefault(call.worker, []).append(call)
        with self._lock:
            latest = list(self._latest.values())
        found = []
        for serving, at in latest:
            for pid in serving.pids:
                name = ms.worker_name(serving.host, pid)
                held = holding.get(name, ())
                done = sum(call.position or 0 for call in held)
                ids, silence = tuple(call.id for call in held), now - at
                node, alive = f"{serving.node} {serving.life}", silence <= _GONE
                found.append(WorkerInfo(name, serving.host, pid, silence, ids, alive, node, done))
        return found

    def fault(self, app: Celery, now: float) -> str | None:
        """What would keep calls from running, with what to do about it; None where nothing does."""
        live = self.live(now)
        if not live:
            return _nobody(app, self._queue, self._ignored)
        if self.slots(now) > 0:
            return None
        names = ", ".join(sorted(serving.node for serving in live))
        return (
            f"every slot that serves the queue {self._queue!r} ({sum(s.slots for s in live)} of {names}) is taken by "
            "an Airflow task now, perhaps by this one: chunks wait until one of them ends, and if they all scatter, "
            f"for ever. Start a worker for chunks alone: airflow celery worker -q {self._queue}"
        )


def _nobody(app: Celery, queue: str, ignored: str) -> str:
    """Say why no worker has reported, by asking the workers themselves; takes two seconds."""
    inspect = app.control.inspect(timeout=1.0)
    queues: dict[str, list[dict[str, Any]]] = inspect.active_queues() or {}
    serving = sorted(node for node, served in queues.items() if queue in {one["name"] for one in served})
    start = f"airflow celery worker -q {queue}"
    if not queues:
        return f"no Celery worker answers, so nothing serves the queue {queue!r}. Start one: {start}"
    if not serving:
        others = "; ".join(f"{n}: {', '.join(one['name'] for one in served)}" for n, served in sorted(queues.items()))
        return f"no Celery worker serves the queue {queue!r} (there are {others}). Start one: {start}"
    served = f"the queue {queue!r} is served by {', '.join(serving)}"
    known = app.control.inspect(destination=serving, timeout=1.0).registered() or {}
    if any(ms.TASK in tasks for tasks in known.values()) and ignored:
        return (
            f"{served}, with Manifold's task, but what comes from there is not signed as it is here ({ignored}). "
            "MANIFOLD_SECRET must be the same on coordinators and workers, and so must the version of Manifold"
        )
    if any(ms.TASK in tasks for tasks in known.values()):
        return f"{served}, with Manifold's task but without a sign of life. Restart these workers"
    return f"{served}, but without Manifold's task. Install Manifold there, and start the workers with {_IMPORTS}"
