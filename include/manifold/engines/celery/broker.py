"""How messages reach a coordinator through the broker that Celery uses, by kombu."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import OperationalError

from manifold.engines.celery import messages as ms
from manifold.engines.celery.consumer import guarded, rarely
from manifold.engines.celery.signing import EVERYBODY, Signer, Verifier
from manifold.errors import WireError

log = logging.getLogger(__name__)

_KEPT = 24 * 3600  # seconds that a coordinator's queue, with what waits there, outlives its last use
_DECLARED = 60.0  # seconds after which a sender declares a queue again, which counts as a use
_UNREAD = 1000  # messages in a queue from which on signs of life are left out: nobody seems to listen
_MUTE = 20.0  # seconds after which a connection without any message is given up
_LISTENER_KEPT = 600
_SERVING = Exchange(EVERYBODY, type="fanout", delivery_mode="transient")
# Celery's JSON body is text already; kombu would wrap it in base64 once more where the broker is not an AMQP server.
_OPTIONS = {"body_encoding": "utf-8"}
_RAW = {"content_type": "application/octet-stream", "content_encoding": "binary"}
_MOST_DECLARED = 1000


def reply_queue(name: str) -> Queue:
    """A coordinator's own queue. It survives a restart of the broker and goes by itself when nobody uses it."""
    return Queue(name, Exchange(""), routing_key=name, durable=True, expires=_KEPT)


def serving_queue(name: str) -> Queue:
    """Return the queue of a coordinator for every `Serving`: a new one for each connection, for a broker may still have
    the old one.
    """
    unique = f"{name}.{uuid.uuid4().hex}"
    return Queue(unique, _SERVING, exclusive=True, durable=False, auto_delete=True, expires=_LISTENER_KEPT)


class Publisher:
    """One connection for sending, opened on first use and anew after an error; for any thread of one process.

    `trouble` is the broker's latest error.
    """

    def __init__(self, app: Celery) -> None:
        self.trouble = ""
        self._app = app
        self._failures = broker_failures(app)
        self._signer = Signer()
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._declared: dict[str, float] = {}

    def call(self, queue: str, call: str, sealed: str, reply_to: str) -> bool:
        """Send a call as Celery's own task message. Whether the broker took it."""
        amqp = self._app.amqp
        task = amqp.create_task_message(
            call, ms.TASK, (sealed,), {}, reply_to=reply_to, ignore_result=True, argsrepr="(…)", kwargsrepr="{}"
        )
        return self._sent(
            lambda producer: amqp.send_task_message(
                producer, ms.TASK, task, queue=queue, serializer="json", retry=False
            ),
            self._failures,
        )

    def reply(self, name: str, message: ms.Message) -> bool:
        """Send to one coordinator. Whether the broker took it; or left it out, as a sign of life that nobody hears."""
        sign = isinstance(message, ms.Running)

        def publish(producer: Producer, body: bytes) -> None:
            unread = self._declare(producer, name, now=sign)
            if not (sign and unread > _UNREAD):
                producer.publish(body, **_RAW, exchange="", routing_key=name)

        return self._message(message, name, publish)

    def announce(self, message: ms.Serving) -> bool:
        """Send to every coordinator. Whether the broker took it."""
        return self._message(
            message,
            EVERYBODY,
            lambda producer, body: producer.publish(
                body, **_RAW, exchange=_SERVING, routing_key="", declare=[_SERVING]
            ),
        )

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _declare(self, producer: Producer, name: str, *, now: bool) -> int:
        """Make the queue of a coordinator that may be gone, keep it from expiring, and return how much waits there.

        Where brokers keep no queues, this is what makes its messages expire. Without `now` it is done once a minute,
        and 0 is returned otherwise.
        """
        if not now and time.monotonic() - self._declared.get(name, -_DECLARED) < _DECLARED:
            return 0
        queue = reply_queue(name)(producer.channel)
        arguments = producer.channel.prepare_queue_arguments({}, expires=queue.expires)
        found = producer.channel.queue_declare(
            queue=name, passive=False, durable=True, exclusive=False, auto_delete=False, arguments=arguments
        )
        if len(self._declared) > _MOST_DECLARED:
            self._declared.clear()
        self._declared[name] = time.monotonic()
        return int(found.message_count)

    def _message(self, message: ms.Message, to: str, publish: Callable[[Producer, bytes], object]) -> bool:
        with self._lock:  # around both, so that messages go in the order of their numbers
            body = self._signer.signed(message, to)
            # Nothing is wrong with the message itself, so any error is the connection's.
            return self._sent(lambda producer: publish(producer, body), (Exception,))

    def _sent(self, publish: Callable[[Producer], object], failures: tuple[type[Exception], ...]) -> bool:
        with self._lock:
            try:
                publish(self._open())
            except failures as exc:
                self.trouble = repr(exc)
                self._drop()
                return False
            return True

    def _open(self) -> Producer:
        if self._producer is None:
            self._connection = self._app.connection_for_write(transport_options=_OPTIONS)
            self._connection.connect()
            self._producer = Producer(self._connection.channel(), auto_declare=False)
        return self._producer

    def _drop(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        self._declared.clear()
        if connection is not None:
            connection.collect()  # not `close`, which waits for a broker that may be gone


class Listener:
    """A thread that hears what comes for one coordinator, reconnects by itself, and deletes its queues at the end.

    Args:
        names: its own reply queue, and those of coordinators before it.
        heard: is given each message, in the order of the queue.
        broken: is called when the connection broke, once for each time.
        ignored: is told why, when a message is not signed as it should be.
    """

    def __init__(
        self,
        app: Celery,
        names: Sequence[str],
        heard: Callable[[ms.Message], None],
        broken: Callable[[], None],
        ignored: Callable[[str], None],
    ) -> None:
        self._app = app
        self._names = names
        self._heard = heard
        self._broken = broken
        self._ignored = ignored
        self._verifier = Verifier(*names)
        self.refused = 0  # messages that were not signed as they should be
        self.connected = True  # by whoever opened the engine
        self._keep = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="manifold-celery-listener", daemon=True)
        self._thread.start()

    def close(self, *, keep: bool = False) -> None:
        """End soon; the next message, or a second without one, ends it. `keep`: leave what waits to a successor."""
        self._keep = keep
        self._closing.set()

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                self._consume()
            except Exception as exc:  # noqa: BLE001 - were this thread to end, every future would wait for ever
                self.connected = False
                log.warning("lost the connection to the Celery broker (%r); trying again", exc)
                self._broken()
                self._closing.wait(1.0)

    def _consume(self) -> None:
        connection = guarded(self._app.connection_for_read())
        try:
            channel = connection.channel()
            serving, replies = serving_queue(self._names[0]), [reply_queue(name) for name in self._names]
            queues = [*replies, serving]
            with Consumer(
                channel, queues, no_ack=True, on_message=self._on_message, on_decode_error=self._on_unreadable
            ):
                last = time.monotonic()
                self.connected = True
                while not self._closing.is_set():
                    try:
                        connection.drain_events(timeout=1.0)
                        last = time.monotonic()
                    except TimeoutError:
                        # A coordinator hears at least its own echo; a connection that stays mute is dead.
                        if time.monotonic() - last > _MUTE:
                            raise ConnectionResetError(f"nothing was heard for {_MUTE:g} s") from None
            for queue in [serving] if self._keep else queues:
                queue(channel).delete()
        finally:
            connection.collect()

    def _on_message(self, message: Any) -> None:
        try:
            message = self._verifier.opened(message.body or b"")
        except WireError as exc:
            self._refuse(str(exc))
        else:
            self._heard(message)

    def _on_unreadable(self, _message: Any, exc: Exception) -> None:
        self._refuse(f"it cannot be read: {exc!r:.200}")

    def _refuse(self, why: str) -> None:
        self._ignored(why)
        self.refused += 1
        if rarely(self.refused):  # workers with another secret, or of another version, speak every second
            log.warning(
                "ignored message %s to %s: %s. Does a worker have another MANIFOLD_SECRET, or another version?",
                f"{self.refused:,}",
                self._names[0],
                why,
            )


def broker_failures(app: Celery) -> tuple[type[Exception], ...]:
    """What a broker that is gone or in trouble raises."""
    connection = app.connection_for_read()
    # py-amqp raises an AttributeError now and then when its connection is lost.
    return (*connection.connection_errors, *connection.channel_errors, OperationalError, AttributeError)
