"""What RabbitMQ's account of chunk workers may touch. `tests/compose` asks a real broker the same."""

from __future__ import annotations

import re

import pytest

from manifold.deploy.broker import CHUNKS

ORDERS = "celery.pidbox"


OURS = ["manifold", "manifold.reply.0a1b", "manifold.serving", "celery@host-1.celery.pidbox", "celeryev"]
OTHERS = ["default", "manifolds", "my.manifold", "celery", "xceleryev", "default.celery.pidbox.x"]


@pytest.mark.parametrize("name", OURS)
def test_a_chunk_worker_may_use_what_is_manifolds_and_its_own(name: str) -> None:
    assert all(re.search(pattern, name) for pattern in CHUNKS.values())


@pytest.mark.parametrize("name", OTHERS)
def test_a_chunk_worker_may_use_no_queue_of_anybody_elses(name: str) -> None:
    assert not any(re.search(pattern, name) for pattern in CHUNKS.values())


def test_a_chunk_worker_hears_orders_and_gives_none() -> None:
    assert re.search(CHUNKS["read"], ORDERS)
    assert not re.search(CHUNKS["write"], ORDERS)
    assert not re.search(CHUNKS["read"], "amq.default")
