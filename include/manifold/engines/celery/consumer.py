"""Messages that are none: thrown away, where kombu or Celery would end the process that consumes the queue.

Whoever may write to a queue can put bytes there that kombu's transports cannot read, and headers that Celery's consumer
trips over. Both would raise out of a worker's main loop, which ends the worker. A message like that is logged and lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
from celery.worker.consumer import Consumer
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.transport import virtual

from manifold.text import shortened

log = logging.getLogger(__name__)

_THEIRS = "celery.worker.consumer:Consumer"


def guard(worker: Any) -> None:
    """Have a Celery worker that is about to start use the consumer below, unless it was given one of somebody's own."""
    if worker.consumer_cls in (_THEIRS, Consumer):
        worker.consumer_cls = GuardedConsumer


def guarded(connection: Connection) -> Connection:
    """The connection, not opened yet; its channels throw away what they cannot read."""
    # AMQP has a transport of another kind, and a broker that gives every message its frame.
    channel = getattr(connection.transport, "Channel", None)
    if channel is not None and hasattr(channel, "_brpop_read"):
        errors = (*connection.connection_errors, *connection.channel_errors)
        connection.transport.Channel = _tolerant(channel, _not_of_a_message(errors))
    return connection


def rarely(number: int) -> bool:
    """For the 1st, 10th, 100th, … time: somebody who may send messages must not fill the log with them."""
    return str(number).strip("0") == "1"


class _Fields(msgspec.Struct):
    """What Celery relies on in a message's headers (protocol 1: its body), later on and outside of any try.

    https://docs.celeryq.dev/en/stable/internals/protocol.html
    """

    task: str
    id: str
    retries: int | None = None
    eta: str | None = None
    expires: str | float | None = None
    timelimit: tuple[float | None, float | None] | None = None
    group: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    origin: str | None = None
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: int | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None


class GuardedConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, which survives any message."""

    def connection_for_read(self, heartbeat: Any = None) -> Connection:
        return self.ensure_connected(guarded(self.app.connection_for_read(heartbeat=heartbeat)))

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        thrown_away = count(1)
        handle, failures = super().create_task_handler(*args, **kwargs), _not_of_a_message(self.connection_errors)

        def on_task_received(message: Any) -> Any:
            try:
                headers = message.headers
                msgspec.convert(headers if "task" in headers else message.decode(), _Fields)
                return handle(message)
            except failures:
                raise
            except Exception as exc:  # noqa: BLE001 - what a message makes Celery raise has no common root
                _tell("not a task message", next(thrown_away), exc)
                return message.reject_log_error(log, self.connection_errors)

        return on_task_received


def _tolerant(channel: type[Any], failures: tuple[type[Exception], ...]) -> type[Any]:
    """The Redis channel; what it has taken from a list or a topic and cannot read is gone from there already."""

    class Tolerant(channel):  # type: ignore[misc]
        def _brpop_read(self, **options: Any) -> Any:
            return _unless_unreadable(lambda: super(Tolerant, self)._brpop_read(**options))

        def _receive_one(self, connection: Any) -> Any:
            return _unless_unreadable(lambda: super(Tolerant, self)._receive_one(connection))

    thrown_away = count(1)

    def _unless_unreadable(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except failures:
            raise
        except Exception as exc:  # noqa: BLE001 - parsers raise all kinds
            _tell("not a message", next(thrown_away), exc)
            return True

    return Tolerant


def _not_of_a_message(errors: tuple[type[Exception], ...]) -> tuple[type[Exception], ...]:
    """What the broker is to blame for. Kombu counts among its errors that a message lacks a field or has an odd one."""
    return (*(one for one in errors if one.__name__ not in ("KeyError", "DataError")), virtual.Empty, OperationalError)


def _tell(what: str, number: int, exc: Exception) -> None:
    if rarely(number):
        log.error(
            "threw away %s, the %s. so far: %s: %r", what, f"{number:,}", type(exc).__name__, shortened(str(exc), 200)
        )
