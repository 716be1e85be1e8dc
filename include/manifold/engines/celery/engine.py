"""Airflow's own Celery workers: `celery://QUEUE`, or `celery://` for the deployment's default queue.

The workers load `manifold.engines.celery.worker`, which says how to tell them. Calls are ordinary Celery tasks; answers
come back over the same broker (Redis or RabbitMQ) into a queue of the coordinator's own, whatever result backend the
deployment has. `celery://QUEUE?silence=20` waits 20 seconds instead of 10 before a silent worker counts as dead.

Install: `pip install "airflow-manifold[celery]"`. Limits: answers are as big as the broker's messages may be. Under
Celery's thread and solo pools no item can be killed alone.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, ClassVar, Self

from celery import Celery

from manifold.abc import Engine
from manifold.engines.celery import messages as ms
from manifold.engines.celery.broker import Listener, broker_failures
from manifold.engines.celery.calls import InFlight, Loss, Sent
from manifold.engines.celery.inbox import Inbox
from manifold.engines.celery.nodes import Nodes
from manifold.engines.celery.sender import Sender
from manifold.engines.urls import celery_url
from manifold.errors import ConfigError, EngineError, Unpicklable
from manifold.protocol.records import WorkerInfo

_CONNECT = 3.0  # seconds for the broker to answer when the engine is opened
_ANNOUNCING = 3.0  # seconds in which every live worker has spoken
_CLOSING = 2.5  # seconds for the listener to end, whatever the broker does
_ATTACHING = 10.0  # seconds for what waits and for the workers to be heard
_OLDER = 20  # coordinators before this one that are listened for; a scatter had that many tries seldom
_LEFT = 5  # coordinators before this one whose queues are cleared away at the end, whether anything is asked for or not
_DROPPED = 1000  # calls that workers are asked to drop; the others are refused as stale, or run once more


class CeleryEngine(Engine):
    """An engine of the workers of one Celery app that serve one queue.

    Args:
        app: the Celery app; its broker is all that is used of it.
        queue: the queue that calls go to; None: the app's default.
        silence: seconds without a sign of life after which a worker process counts as dead.

    Raises:
        EngineError: the broker does not answer.
    """

    same_host: ClassVar[bool] = False
    kills_items: ClassVar[bool] = True
    reattaches: ClassVar[bool] = True

    def __init__(self, app: Celery, queue: str | None = None, *, silence: float = 10.0) -> None:
        _reach(app)
        self._app = app
        self._me = uuid.uuid4().hex
        self._to = queue or app.conf.task_default_queue
        self._flight = InFlight(silence)
        self._nodes = Nodes(self._to, silence)
        self._gate = threading.Lock()
        self._shut = self._left = False
        self._refused_before = 0
        self._listen(self._me)

    def _listen(self, name: str, older: Iterable[str] = ()) -> None:
        """Send calls under that name from now on, and hear what comes for it and for older ones."""
        self._name = name
        self._unheard = {ms.reply_queue(one) for one in older}
        names = [ms.reply_queue(name), *self._unheard]
        self._inbox = Inbox(self._me, self._flight, self._nodes, self._over, self._unheard)
        listener = Listener(self._app, names, self._inbox.heard, self._flight.disturb, self._nodes.ignored)
        self._listener = listener
        self._sender = Sender(
            self._app,
            self._me,
            name,
            self._to,
            self._flight,
            self._unsendable,
            lambda: listener.close(keep=self._left),
            self._unheard,
        )
        self._sender.start()

    @classmethod
    def from_url(cls, url: str, *, queue: str | None = None, **options: Any) -> Self:
        to, silence = celery_url(url, queue=queue, **options)
        return cls(_airflow_app(), to, silence=silence)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._submit(str(uuid.uuid4()), fn, args, kwargs)

    def attach(self, scatter: str, epoch: int, calls: Mapping[str, int]) -> dict[str, Future[Any]]:
        left = range(max(1, epoch - _LEFT), epoch)  # what waits for these, of re-runs too, goes with the scatter
        epochs = sorted({*calls.values(), *left}, reverse=True)[:_OLDER]
        names = {older: ms.reply_name(scatter, older) for older in epochs}
        found = [
            Sent(call, Future(), names[older], adopted=True, excused=True)
            for call, older in calls.items()
            if older in names
        ]
        with self._gate:
            if self._shut or not self._flight.idle():  # the answers of another scatter come under the name of now
                return {}
            self._refused_before = self.refused
            self._sender.close()
            self._sender.join()
            for call in found:
                self._flight.add(call)
            self._listen(ms.reply_name(scatter, epoch), names.values())
        for call in found:
            self._inbox.watch(call)
        return self._found(found)

    def submit_as(self, call: str, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        return self._submit(call, fn, args, {})

    def _found(self, calls: list[Sent]) -> dict[str, Future[Any]]:
        """Those of the calls of which there was a sign, after all that had waited was heard and all workers spoke."""
        until = time.monotonic() + _ATTACHING
        while calls and time.monotonic() < until and (self._unheard or self._inbox.beats < _ANNOUNCING / ms.BEAT):
            time.sleep(0.05)
        lost = [call for call in calls if not call.fetched and self._flight.remove(call.id) is not None]
        self._sender.drop(call.id for call in lost[:_DROPPED])
        gone = {call.id for call in lost}
        return {call.id: call.future for call in calls if call.id not in gone}

    def _submit(self, id_: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        call = Sent(id_, Future(), self._name)
        sealed = None
        try:
            sealed = ms.seal_call(self._name, call.id, fn, args, kwargs)
        except ConfigError:
            raise
        except Exception as exc:  # noqa: BLE001 - pickling runs a user's code
            call.future.set_exception(Unpicklable(f"the call of {fn!r} cannot be pickled: {exc}"))
        with self._gate:
            if self._shut:
                raise RuntimeError("this engine is shut down; open another one")
            if sealed is not None:
                self._flight.add(call)
                self._inbox.watch(call)
                self._sender.send(call, sealed)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._gate:
            self._shut = True
        if cancel_futures:
            for call in self._flight.all():
                call.future.cancel()
        self._sender.close()
        if wait:
            self._sender.join()
            self._listener.join()

    def slots(self) -> int:
        return self._nodes.slots(self._flight.now)

    def workers(self) -> list[WorkerInfo]:
        return self._nodes.workers(self._flight.now, self._flight.all())

    def check(self) -> str | None:
        until = time.monotonic() + _ANNOUNCING
        while not self.slots() and time.monotonic() < until:
            time.sleep(0.05)
        return self._nodes.fault(self._app, self._flight.now)

    @property
    def connected(self) -> bool:  # type: ignore[override]
        return self._listener.connected

    @property
    def refused(self) -> int:  # type: ignore[override]
        return self._refused_before + self._listener.refused + self._inbox.refused

    @property
    def refused_by_workers(self) -> int:  # type: ignore[override]
        return self._nodes.refused

    def kill(self, future: Future[Any]) -> None:
        if future.cancel():
            return
        for call in self._flight.all():
            if call.future is future:
                call.excused = True
                self._sender.unsend(call, kill=True)
                self._inbox.lose(Loss(call, "stopped by its coordinator"))

    def stop_listening(self) -> None:
        self._left = True
        self._listener.close(keep=True)
        self._listener.join(_CLOSING)

    def leave(self, future: Future[Any]) -> None:
        for call in self._flight.all():
            if call.future is future:
                self._left = True
                self._inbox.end(call.id, _leave)

    def _over(self, call: Sent, cancelled: bool) -> None:
        if cancelled:
            self._sender.unsend(call)
        elif self._shut:
            self._sender.wake()

    def _unsendable(self, call: Sent, error: Exception) -> None:
        self._inbox.end(call.id, lambda future: future.set_exception(error))


def _leave(future: Future[Any]) -> None:
    future.set_exception(CancelledError("left to the next coordinator"))


def _airflow_app() -> Celery:
    from airflow.providers.celery.executors.celery_executor_utils import app  # only it needs Airflow

    return app


def _reach(app: Celery) -> None:
    connection = app.connection_for_write(connect_timeout=_CONNECT)
    try:
        connection.connect()
        connection.channel()
    except broker_failures(app) as exc:
        raise EngineError(
            f"the Celery broker {connection.as_uri()} does not answer: {str(exc).rstrip('.')}. Is it running, and is "
            "AIRFLOW__CELERY__BROKER_URL right in this process?"
        ) from exc
    finally:
        connection.collect()
