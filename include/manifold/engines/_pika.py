"""A connection to RabbitMQ, by pika: its loop runs while something is waited for, so every wait has an end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pika
from pika.exceptions import AMQPError, IncompatibleProtocolError, ProbableAuthenticationError

from manifold.abc import Place, TransportError
from manifold.engines._remote.access import client_tls

TIMEOUT = 5.0
_HEARTBEAT = 60  # an engine or worker sends each second, so no connection of theirs is idle for that long

_HINTS: dict[type[BaseException], str] = {
    ProbableAuthenticationError: ": check user and password in the URL",
    IncompatibleProtocolError: ": is that the port of AMQP, and does the URL ask for TLS where it is spoken?",
}


class Channel:
    """One connection with one channel, for one thread. Every method raises TransportError once it is lost.

    `pika.BlockingConnection` waits for a broker that does not answer until heartbeats fail.
    """

    def __init__(self, place: Place) -> None:
        if (log := logging.getLogger("pika")).level == logging.NOTSET:
            log.setLevel(logging.CRITICAL)  # what it logs of a lost connection is in our errors
        self._lost, self._ending = "", False
        opened: list[Any] = []
        self._connection = pika.SelectConnection(_parameters(place), opened.append, self._closed, self._closed)
        self._connection.ioloop.activate_poller()
        try:
            self.wait(lambda: bool(opened))
            self._channel = self._connection.channel(on_open_callback=opened.append)
            self._channel.add_on_close_callback(self._closed)
            self._channel.add_on_cancel_callback(lambda _: self._closed(None, AMQPError("its queue was deleted")))
            self.wait(lambda: len(opened) == 2)
        except BaseException:
            self.close()
            raise

    def ask(self, method: str, *args: Any, **options: Any) -> None:
        """Call a method of pika's channel, and wait for the broker's answer."""
        answers: list[Any] = []
        self.call(method, *args, callback=answers.append, **options)
        self.wait(lambda: bool(answers))

    def call(self, method: str, *args: Any, **options: Any) -> None:
        """Call a method of pika's channel."""
        try:
            getattr(self._channel, method)(*args, **options)
        except (AMQPError, OSError) as exc:
            raise TransportError(self._lost or _told(exc)) from exc

    def wait(self, until: Callable[[], bool]) -> None:
        """Run the loop until that is so; raises TransportError where it takes longer than 5 s."""
        if not self.run(until, TIMEOUT):
            self._lost = f"RabbitMQ did not answer within {TIMEOUT:g} s: has it memory and disk left?"
            raise TransportError(self._lost)

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Run the loop until that is so; False after so many seconds."""
        loop, end = self._connection.ioloop, time.monotonic() + seconds
        timer = loop.call_later(seconds, lambda: None)  # `poll` returns for it
        try:
            while not until():
                if self._lost:
                    raise TransportError(self._lost)
                if time.monotonic() >= end:
                    return False
                loop.poll()
                loop.process_timeouts()
        finally:
            loop.remove_timeout(timer)
        return True

    def close(self) -> None:
        """End the connection. Never raises."""
        self._ending, self._lost = True, ""
        with suppress(Exception):
            self._connection.close()
            if not self.run(lambda: self._connection.is_closed, 1.0):
                self._connection._transport.abort()  # pika has no other way to end one that does not answer
                self.run(lambda: self._connection.is_closed, 1.0)
        with suppress(Exception):
            self._connection.ioloop.deactivate_poller()
            self._connection.ioloop.close()

    def _closed(self, _: Any, why: BaseException) -> None:
        self._lost = self._lost or ("" if self._ending else _told(why))


def _parameters(place: Place) -> pika.ConnectionParameters:
    context = client_tls(place)
    return pika.ConnectionParameters(
        place.host,
        place.port,
        place.path or "/",
        pika.PlainCredentials(place.user or "guest", place.password or "guest"),
        heartbeat=_HEARTBEAT,
        ssl_options=context and pika.SSLOptions(context, place.host),
        socket_timeout=TIMEOUT,
        stack_timeout=0.9 * TIMEOUT,  # before ours, since it says what was waited for
    )


def _told(exc: BaseException) -> str:
    """What happened; pika hides it in what it was doing then."""
    inner = getattr(exc, "exception", None) or next(reversed(getattr(exc, "exceptions", exc.args)), None)
    if isinstance(inner, BaseException):
        return _told(inner)
    hint = next((hint for kind, hint in _HINTS.items() if isinstance(exc, kind)), "")
    return f"{type(exc).__name__}: {exc}{hint}"
