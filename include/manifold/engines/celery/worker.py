"""What Airflow's Celery workers load to run Manifold's calls.

Tell the workers, and nobody else, in Airflow's configuration::

    AIRFLOW__CELERY__EXTRA_CELERY_CONFIG='{"imports": ["manifold.engines.celery.worker"]}'

Any other Celery app runs them too, with this module among its `imports`. Importing it registers one task and three
signal handlers, and does nothing else.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, shared_task, signals

from manifold.engines.celery import messages as ms
from manifold.engines.celery import refusals
from manifold.engines.celery.consumer import guard
from manifold.engines.celery.heartbeat import Heartbeat, NodeHeartbeat
from manifold.engines.celery.pool_state import PoolState, in_pool_process
from manifold.errors import ConfigError, EngineError, WireError
from manifold.worker import beat, forks

log = logging.getLogger(__name__)

_lock = threading.Lock()
_heartbeat: Heartbeat | None = None
_pool_state: PoolState | None = None


def run_call(task: Any, sealed: str) -> None:
    """Run one call and send its answer to the coordinator that signed it; raises and returns nothing to Celery."""
    request = task.request
    heartbeat = _heartbeat_of(task.app)
    try:
        opened = ms.Opened(sealed, request.id)
    except WireError as exc:
        why = f"worker {heartbeat.worker} did not unpickle the call: {exc}"
        heartbeat.refuse(request.reply_to, ms.Refused(str(request.id), why, "signature"))
        return
    except ConfigError as exc:
        why = f"worker {heartbeat.worker} is not set up: {exc}"
        heartbeat.refuse(request.reply_to, ms.Refused(str(request.id), why, "settings"))
        return
    if (request.delivery_info or {}).get("redelivered"):
        # Whoever had it first may have died of it, and this process would be next.
        heartbeat.tell(opened.reply_to, ms.Redelivered(request.id))
        return
    with _drained_by_sigterm(), heartbeat.calling(request.id, opened.reply_to):
        heartbeat.tell(opened.reply_to, _outcome(heartbeat.worker, request.id, opened))


# Late acknowledgement keeps the message with the broker until the answer is sent; a lost process gives it back at once,
# marked as redelivered. Celery's result backend, whatever it is, is left alone.
shared_task(name=ms.TASK, bind=True, acks_late=True, reject_on_worker_lost=True, ignore_result=True)(run_call)


def _outcome(worker: str, call: str, opened: ms.Opened) -> ms.Answered | ms.Refused:
    if difference := opened.mismatch():
        return ms.Refused(call, f"{difference} {worker}; install the same on both", "versions")
    try:
        fn, args, kwargs = opened.load()
    except Exception as exc:  # noqa: BLE001 - unpickling runs a user's code
        why = f"worker {worker} cannot unpickle the call: {type(exc).__name__}: {exc}. Is a package missing there?"
        return opened.raised(EngineError(why))
    try:
        with _children_of_items(), forks.only_here():
            result = fn(*args, **kwargs)
        return opened.returned(result)
    except BaseException as exc:  # noqa: BLE001 - it is the caller's, SystemExit too
        return opened.raised(exc)


@contextmanager
def _children_of_items() -> Iterator[None]:
    """An item may have child processes (`multiprocessing.Pool`), on Celery as elsewhere.

    The processes of Celery's pool are daemons, and `multiprocessing` refuses those children. All that this guards
    against is that children outlive a pool that is killed, as those of `subprocess` do anyway.
    """
    config = getattr(multiprocessing.current_process(), "_config", {})
    daemon = config.pop("daemon", None) if in_pool_process() else None
    try:
        with forks.serving(raising=not in_pool_process()):
            yield
    finally:
        if daemon is not None:
            config["daemon"] = daemon


@contextmanager
def _drained_by_sigterm() -> Iterator[None]:
    """A SIGTERM to this process of the pool ends the call after its item at hand, and the process after the call."""
    if not in_pool_process() or threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def on_term(_signal: int, _frame: object) -> None:
        nonlocal told
        told = True
        signal.signal(signal.SIGTERM, before)  # a second one means it
        beat.drain()

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if told:
            os.kill(os.getpid(), signal.SIGTERM)


def _heartbeat_of(app: Celery) -> Heartbeat:
    """This process's own: one that came along with a fork has neither its thread nor a connection."""
    global _heartbeat
    with _lock:
        if _heartbeat is None or _heartbeat.pid != os.getpid():
            _heartbeat = Heartbeat(app, _pool_state)
        return _heartbeat


def _on_init(sender: Any, **_: Any) -> None:
    global _pool_state
    _pool_state = PoolState()
    guard(sender)
    refusals.share()
    if "airflow" in sys.modules:  # Airflow's own workers, whose configuration says where secret and store are
        from manifold.airflow.configuration import register

        register()


def _on_ready(sender: Any, **_: Any) -> None:
    if _pool_state is not None:
        NodeHeartbeat(sender, _pool_state)


def _on_shutting_down(**_: Any) -> None:
    if _pool_state is not None:
        _pool_state.leave()


# Before the pool is made; when the worker takes its first messages; in the handler of SIGTERM.
signals.worker_init.connect(_on_init, weak=False)
signals.worker_ready.connect(_on_ready, weak=False)
signals.worker_shutting_down.connect(_on_shutting_down, weak=False)
