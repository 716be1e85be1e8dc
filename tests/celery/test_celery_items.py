"""What items do in the processes of Celery's pool: children, streams, logging, signals, event loops."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

import manifold
from manifold.engines.celery.engine import CeleryEngine
from tests.celery.brokers import Deployment, serves


@pytest.fixture(params=["prefork", "threads", "solo"])
def engine(request: pytest.FixtureRequest, broker: Deployment) -> Iterator[CeleryEngine]:
    """An engine with one slot in a worker of each kind of pool."""
    with ExitStack() as stack:
        name = f"items-{request.param}"
        engine = stack.enter_context(broker.engine(name))
        stack.enter_context(broker.worker(name, name, slots=1, pool=request.param))
        serves(engine, 1)
        yield engine


def children(x: int) -> dict[str, Any]:
    """Have child processes of all kinds; what became of them."""
    fork = multiprocessing.get_context("fork")
    with fork.Pool(2) as pool:
        pooled = pool.map(abs, [-1, -2])
    with ProcessPoolExecutor(2, mp_context=fork) as executor:
        executed = list(executor.map(abs, [-1, -2]))
    child = fork.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    pid = os.fork()
    if not pid:
        sys.exit(x)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"pooled": pooled, "executed": executed, "terminated": child.exitcode, "left": status}


def streams(x: int) -> int:
    """Use the streams as programs do."""
    for stream in (sys.stdout, sys.stderr):
        assert stream.writable()
        assert isinstance(stream.encoding, str)
        assert isinstance(stream.fileno(), int)
    subprocess.run([sys.executable, "-c", ""], stdout=sys.stdout, stderr=sys.stderr, check=True)
    faulthandler.enable()
    sys.stdout.buffer.write(f"{x} in bytes\n".encode())
    print(f"{x} in text")
    logging.getLogger("mine").error("%d", "no number")
    logging.getLogger("mine").error("%d logged", x)
    return x


async def together(x: int, lock: asyncio.Lock) -> int:
    print(f"{x} begins")
    async with lock:
        await asyncio.sleep(0.001)
    print(f"{x} ends")
    if x == 3:
        raise KeyboardInterrupt
    return x


def test_items_have_children_print_and_wait_as_anywhere(engine: CeleryEngine) -> None:
    results = manifold.scatter(children, range(4), engine=engine, chunk_size=2)
    wanted = {"pooled": [1, 2], "executed": [1, 2], "terminated": -signal.SIGTERM}
    assert list(results) == [wanted | {"left": x} for x in range(4)]

    results = manifold.scatter(streams, range(4), engine=engine, chunk_size=2, keep_logs=True)
    assert list(results) == list(range(4))
    lines = [(line.pos, line.text) for line in results.logs()]
    for x in range(4):
        assert {(x, f"{x} in bytes"), (x, f"{x} in text"), (x, f"mine: {x} logged")} <= set(lines)

    consts = {"lock": manifold.per_worker(asyncio.Lock)}
    results = manifold.scatter(
        together, range(20), engine=engine, chunk_size=5, keep_logs=True, consts=consts, tolerate=1
    )
    assert list(results) == [x for x in range(20) if x != 3]
    assert [failure.type for failure in results.failures()] == ["KeyboardInterrupt"]
    assert all(line.text.split()[0] == str(line.pos) for line in results.logs())


def leaking(x: int) -> int:
    """Leaves a file open, in a process that may have 120."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (120, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = sys.__dict__.setdefault("_held_open", [])
    held.append(open(os.devnull))  # noqa: SIM115
    return os.getpid()


def test_a_process_that_items_leave_without_descriptors_is_replaced(broker: Deployment) -> None:
    with broker.engine("leaking") as engine, broker.worker("leaking", "leaking", slots=1, pool="prefork"):
        serves(engine, 1)
        results = manifold.scatter(leaking, range(300), engine=engine, chunk_size=20, tolerate="100%")
        assert results.n_ok + results.n_failed == 300
        assert len(set(results)) >= 3
        assert all("leave files or connections open" in one.message for one in results.failures())
