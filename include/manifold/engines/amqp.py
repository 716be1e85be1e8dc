"""RabbitMQ: `amqp://USER:PASSWORD@host:5672/VHOST`. A queue for each mailbox, bound to `amq.direct` by its group.

`?queues=classic` (the default) rests in the broker's memory: when it dies, what waits is lost, and sent again.
`?queues=quorum` replicates what waits over the cluster's nodes, and is slower. `?tls=true` and `tls_ca`, `tls_cert`,
`tls_key` speak TLS, by its port (5671, as a rule). A mailbox holds 64 MiB; what it has no room for is sent again later.

Install: pip install "airflow-manifold[amqp]". Limits: RabbitMQ 3.8 or newer; other brokers of AMQP 0-9-1 do not confirm
what a full queue refuses.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from typing import Any, ClassVar, Self

import pika

from manifold.abc import MailboxFull, Place, Transport
from manifold.abc.transport import KEPT
from manifold.engines._pika import Channel
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import MOST
from manifold.errors import ConfigError

_KINDS = ("classic", "quorum")
_AHEAD = 32  # messages that come before they are asked for
_ACKS = 16  # messages that are acknowledged at once
_GROUPS = "amq.direct"  # an exchange that every virtual host has: nothing is left behind
_LIMITS = {"x-expires": int(KEPT * 1000), "x-max-length-bytes": MOST, "x-overflow": "reject-publish"}


class AmqpTransport(Transport):
    """A message counts as sent once the broker has confirmed it: what has no place is refused, not dropped."""

    options: ClassVar[tuple[str, ...]] = ("queues",)
    tls: ClassVar[bool] = True

    def __init__(self, channel: Channel, kind: str) -> None:
        self._channel = channel
        self._kind = kind
        self._mailbox = ""
        self._inbox: deque[tuple[int, bytes]] = deque()
        self._read = self._acked = 0  # delivery tags
        self._confirmed: Any = None
        channel.ask("confirm_delivery", self._confirm)

    @classmethod
    def connect(cls, place: Place) -> Self:
        kind = place.options.get("queues", _KINDS[0])
        if kind not in _KINDS:
            raise ConfigError(f"queues={kind!r} of {place} must be one of {', '.join(_KINDS)}")
        return cls(Channel(place), kind)

    def open(self, mailbox: str, group: str) -> None:
        ask, kind = self._channel.ask, {"x-queue-type": self._kind}
        ask("queue_declare", mailbox, durable=True, arguments=_LIMITS | kind)
        ask("queue_bind", mailbox, _GROUPS, group)
        ask("basic_qos", prefetch_count=_AHEAD)
        # An earlier instance may count as connected still: the newest one comes before it, as long as it keeps up.
        ask("basic_consume", mailbox, self._deliver, arguments={"x-priority": int(1000 * time.time())})
        self._mailbox = mailbox

    def send(self, to: str, data: bytes, *, everyone: bool = False) -> None:
        self._confirmed = None
        self._channel.call("basic_publish", _GROUPS if everyone else "", to, data)
        self._channel.wait(lambda: self._confirmed is not None)
        # Of a group, those that are full are left out: what goes to all is said again soon.
        if isinstance(self._confirmed, pika.spec.Basic.Nack) and not everyone:
            raise MailboxFull(to)

    def receive(self, timeout: float) -> bytes | None:
        if self._read - self._acked >= (_ACKS if self._inbox else 1):
            self._channel.call("basic_ack", self._read, multiple=True)
            self._acked = self._read
        if not self._channel.run(lambda: bool(self._inbox), timeout):
            return None
        self._read, data = self._inbox.popleft()
        return data

    def close(self) -> None:
        with suppress(Exception):
            if self._mailbox:
                self._channel.ask("queue_delete", self._mailbox)
        self._channel.close()

    def _confirm(self, frame: Any) -> None:
        self._confirmed = frame.method

    def _deliver(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        self._inbox.append((method.delivery_tag, body))


class AmqpEngine(RemoteEngine):
    """Workers that reach the same broker."""

    transport = AmqpTransport
