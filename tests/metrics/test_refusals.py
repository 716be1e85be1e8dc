"""Messages that nobody of this deployment had signed: thrown away, and counted on whichever side they came in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Producer

from manifold.config import new_secret
from manifold.testing import calls
from manifold.testing.engines import SLOW, until
from tests.celery.brokers import Deployment, deployment, serves


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    with deployment("redis", tmp_path) as running, running.worker("chunks", "manifold", slots=2):
        yield running


def test_a_worker_counts_what_it_refuses_and_tells_everybody_who_listens(
    broker: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with broker.engine("manifold") as listening, broker.engine("manifold") as engine:
        serves(listening, 2)
        assert serves(engine, 2).submit(calls.echo, 1).result(SLOW) == 1
        with monkeypatch.context() as other:
            other.setenv("MANIFOLD_SECRET", new_secret())
            for number in range(3):
                engine.submit(calls.echo, number)
        until(lambda: listening.refused_by_workers == 3, "the worker tells of three")
        assert listening.refused == 0


def test_a_coordinator_counts_what_reaches_it_and_is_no_message(broker: Deployment) -> None:
    with broker.engine("manifold") as engine:
        serves(engine, 2)
        before = engine.refused
        name = f"manifold.reply.{engine._name}"
        with broker.app.connection_for_write() as connection:
            producer = Producer(connection.channel(), auto_declare=False)
            for _ in range(5):
                producer.publish(
                    b"forged", routing_key=name, content_type="application/data", content_encoding="binary"
                )
        until(lambda: engine.refused == before + 5, "five are refused")
        assert engine.connected


def test_a_broker_that_goes_away_is_noticed(broker: Deployment) -> None:
    with broker.engine("manifold") as engine:
        serves(engine, 2)
        assert engine.connected
        broker.server.stop()
        until(lambda: not engine.connected, "the engine knows")
        broker.server.start()
        until(lambda: engine.connected, "and knows again")
