"""Somebody who may write to the broker and read what goes over it, but has no secret."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec
import pytest
import redis
from kombu import Connection, Producer

from manifold.engines.celery import messages as ms
from manifold.engines.celery.broker import Publisher
from manifold.engines.celery.signing import EVERYBODY, Verifier
from tests.celery.brokers import Deployment
from tests.security.canary import Canary
from tests.security.mutate import mutants


@dataclass
class Captured:
    """What went over the broker: calls as (id, sealed call, reply queue), and the bodies that a coordinator heard."""

    calls: list[tuple[str, str, str]] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    @classmethod
    def by(cls, patch: pytest.MonkeyPatch) -> Captured:
        """Listens in from now on."""
        captured, send, opened = cls(), Publisher.call, Verifier.opened

        def call(publisher: Publisher, queue: str, call: str, sealed: str, reply_to: str) -> bool:
            captured.calls.append((call, sealed, reply_to))
            return send(publisher, queue, call, sealed, reply_to)

        def hear(verifier: Verifier, body: bytes | memoryview) -> ms.Message:
            message = opened(verifier, body)
            if len(captured.heard) < 1_000:
                captured.heard.append(bytes(body))
            return message

        patch.setattr(Publisher, "call", call)
        patch.setattr(Verifier, "opened", hear)
        return captured


class Attacker:
    """Sends to the queues of one deployment, the same from the same seed."""

    def __init__(self, broker: Deployment, connection: Connection, canary: Canary, seed: int) -> None:
        self._broker = broker
        self._producer = Producer(connection.channel(), auto_declare=False)
        self._canary = canary
        self._seed = seed

    def attack_workers(self, queue: str, captured: Captured, number: int) -> None:
        """So many messages to the queue that workers take calls from."""
        dice = random.Random(self._seed)
        sealed = [base64.b64decode(text) for _, text, _ in captured.calls]
        ways = (self._altered_call, self._altered_call, self._odd_arguments, self._odd_headers, self._pickle, self._raw)
        for mutant in islice(mutants(self._seed, [*sealed, *captured.heard], self._canary.pickled), number):
            dice.choice(ways)(dice, queue, captured, mutant)
        for call, text, reply_to in captured.calls[-20:]:  # and word for word, but in the name of another call
            self._call(queue, (text,), str(uuid.uuid4()), reply_to)
            self._call(queue, (text,), call, f"manifold.reply.{uuid.uuid4().hex}")

    def attack_coordinator(self, queue: str, captured: Captured, number: int) -> None:
        """So many messages to a coordinator's own queue, and as many to all coordinators."""
        dice = random.Random(self._seed + 1)
        bare = [ms.Refused(call, "invented", "signature") for call, *_ in captured.calls]
        for mutant in islice(mutants(self._seed + 1, captured.heard, self._canary.pickled), number):
            replayed = dice.random() < 0.2
            for body in (dice.choice(captured.heard) if replayed else mutant, mutant):
                self._publish(body, queue, "")
                self._publish(body, "", EVERYBODY)
            if self._broker.kind == "redis" and dice.random() < 0.2:
                self._client.lpush(queue, mutant)
                self._client.publish(f"/0.{EVERYBODY}", mutant)
            if dice.random() < 0.01:
                self._publish(msgspec.msgpack.encode(dice.choice(bare)), queue, "")

    @property
    def _client(self) -> Any:
        return redis.Redis.from_url(self._broker.server.url())

    def _altered_call(self, dice: random.Random, queue: str, captured: Captured, mutant: bytes) -> None:
        call, _, reply_to = dice.choice(captured.calls)
        text = base64.b64encode(mutant).decode()
        self._call(queue, (text if dice.random() < 0.9 else text[1:],), call, reply_to)

    def _odd_arguments(self, dice: random.Random, queue: str, captured: Captured, mutant: bytes) -> None:
        odd: tuple[tuple[Any, ...], ...] = ((), (None,), (7,), ([],), ({"a": 1},), ("é",), ("x", "y"), (mutant.hex(),))
        reply_to = dice.choice(("", "default", queue, "manifold.reply.x", captured.calls[0][2]))
        self._call(queue, dice.choice(odd), str(uuid.uuid4()), reply_to)

    def _odd_headers(self, dice: random.Random, queue: str, captured: Captured, mutant: bytes) -> None:
        call, sealed, _ = dice.choice(captured.calls)
        odd: tuple[dict[str, Any], ...] = (
            {},
            {"task": ms.TASK},
            {"task": "os.system", "id": call},
            {"task": ["manifold.call"], "id": call},
            {"task": ms.TASK, "id": [call]},
            {"task": ms.TASK, "id": call, "eta": "soon", "expires": "never"},
            {"task": ms.TASK, "id": call, "timelimit": "x", "retries": "y"},
            {"task": ms.TASK, "id": call, "compression": "zlib"},
            {"task": ms.TASK, "id": call, "compression": "nothing"},
        )
        body = json.dumps([[sealed[:20]], {}, {}]).encode() if dice.random() < 0.7 else mutant
        self._publish(body, queue, "", headers=dice.choice(odd), content_type="application/json")

    def _pickle(self, dice: random.Random, queue: str, captured: Captured, mutant: bytes) -> None:
        """As a Celery app that accepts pickles would take it."""
        kind = dice.choice(("application/x-python-serialize", "application/data", "application/json", "text/plain"))
        headers = {"task": ms.TASK, "id": str(uuid.uuid4())}
        self._publish(self._canary.pickled, queue, "", headers=headers, content_type=kind)

    def _raw(self, dice: random.Random, queue: str, captured: Captured, mutant: bytes) -> None:
        """No message of kombu's at all, where the broker takes any bytes."""
        if self._broker.kind != "redis":
            self._publish(mutant, queue, "", headers={"x": [1, None]}, content_type="a/b", content_encoding="c")
            return
        envelope = {"body": "%", "headers": {}, "properties": {"delivery_tag": ["x"], "body_encoding": "base64"}}
        odd = (mutant, b"{}", b"[]", b"null", b'{"properties": {}}', json.dumps(envelope).encode(), b"\xff\xfe")
        self._client.lpush(queue, dice.choice(odd))

    def _call(self, queue: str, args: tuple[Any, ...], call: str, reply_to: str) -> None:
        amqp = self._broker.app.amqp
        task = amqp.create_task_message(call, ms.TASK, args, {}, reply_to=reply_to, ignore_result=True)
        amqp.send_task_message(self._producer, ms.TASK, task, queue=queue, serializer="json", retry=False)

    def _publish(self, body: Any, queue: str, exchange: str, **more: Any) -> None:
        raw = {"content_type": "application/octet-stream", "content_encoding": "binary", **more}
        self._producer.publish(body, exchange=exchange, routing_key=queue, **raw)


@contextmanager
def attacker(broker: Deployment, canary: Canary, seed: int) -> Iterator[Attacker]:
    """Somebody with a login at the broker."""
    with broker.app.connection_for_write() as connection:
        yield Attacker(broker, connection, canary, seed)
