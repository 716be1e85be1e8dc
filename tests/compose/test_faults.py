"""What breaks in the deployment while the flights go through it: the answer comes all the same.

Run by `make faults-compose`. tests/faults does more, and measures it, on hosts made of network namespaces.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.compose.compose import ACCOUNT, Compose, docker
from tests.compose.conftest import CHUNK_WORKERS

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(1500)]

LONG = 15.0
"""Seconds of silence, after which a worker counts as dead."""


def killed(stack: Compose, service: str) -> None:
    docker("kill", *stack.containers(service))
    time.sleep(3)
    scale = ("--scale", f"{service}={CHUNK_WORKERS}") if service == "manifold-worker" else ()
    stack.run("up", "--detach", "--no-recreate", "--no-deps", *scale, service)


def standing_still(stack: Compose, service: str) -> None:
    one = stack.containers(service)[0]
    docker("pause", one)
    time.sleep(LONG)
    docker("unpause", one)


def cut_off(stack: Compose, service: str) -> None:
    one, network = stack.containers(service)[0], f"{stack.project}_chunks"
    docker("network", "disconnect", network, one)
    time.sleep(LONG)
    docker("network", "connect", network, one)


FAULTS: dict[str, Callable[[Compose], None]] = {
    "all chunk workers are killed, and start again": lambda stack: killed(stack, "manifold-worker"),
    "the coordinator's container is killed, and starts again": lambda stack: killed(stack, "worker"),
    "the broker is killed, and starts again": lambda stack: killed(stack, "rabbitmq"),
    "PostgreSQL is killed, and starts again": lambda stack: killed(stack, "postgres"),
    "a chunk worker stands still": lambda stack: standing_still(stack, "manifold-worker"),
    "a chunk worker is cut off": lambda stack: cut_off(stack, "manifold-worker"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_answer_comes_all_the_same(stack: Compose, fault: str) -> None:
    assert ACCOUNT in stack.demo(lambda: FAULTS[fault](stack))
