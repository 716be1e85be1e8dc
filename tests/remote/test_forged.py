"""Whoever can write to the transport and has no secret can run nothing, end nothing and answer nothing."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manifold
from manifold.config import new_secret
from manifold.engines._remote import messages as ms
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.signing import Signer
from manifold.protocol import envelope
from manifold.testing.engines import until
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES, fleet

FORGED = 10_000


class Touch:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.fixture(scope="module", params=MIDDLES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", new_secret())
        patch.setenv("MANIFOLD_HOME", str(tmp_path_factory.mktemp("home")))
        with fleet(request.param, tmp_path_factory.mktemp(request.param)) as made:
            yield made


def forgeries(engine: RemoteEngine, node: str, bomb: bytes) -> Iterator[tuple[str, bytes]]:
    """Messages of all kinds, to workers and coordinators, signed with another secret, cut, or not at all."""
    pick = random.Random(7)
    call = os.urandom(16).hex()
    theirs = os.environ["MANIFOLD_SECRET"]
    os.environ["MANIFOLD_SECRET"] = new_secret()
    try:
        signer = Signer()
        sealed = [
            (node, ms.seal_call(engine._id, call, node, 1, bomb)),
            (engine._mailbox, ms.seal_answer(engine._id, call, node, True, bomb)),
            (node, signer.signed(ms.Drop(call), node)),
            (engine._mailbox, signer.signed(ms.Lost(call, "gone", node, started=True, died=True), engine._mailbox)),
            (engine._mailbox, signer.signed(ms.Serving(node, "host", 99, [1], {}, 10**6), engine._mailbox)),
            (engine._mailbox, msgspec.msgpack.encode(ms.Refused(call, "no", node, "versions"))),
            (node, envelope.MAGIC + b"\x00\x00\x00\x10" + b"\xff" * 100),
            (node, b"MNFP" + b"12345678" + b"\xff" * 8 + bomb),
            (node, bomb),
            (engine._mailbox, b""),
        ]
    finally:
        os.environ["MANIFOLD_SECRET"] = theirs
    for number in range(FORGED):
        to, data = sealed[number % len(sealed)]
        if data and pick.random() < 0.5:
            place = pick.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ (1 + pick.randrange(255))]) + data[place + 1 :]
        yield to, data


def work(number: int) -> int:
    return number * number


def test_ten_thousand_forged_messages_do_nothing(running: Fleet, tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"
    with running.engine(2) as engine:
        assert isinstance(engine, RemoteEngine)
        until(lambda: len(engine.workers()) == 2, "the processes of both workers are up")
        nodes = [worker.node for worker in engine.workers()]
        transport = engine.transport.connect(engine._place)
        try:
            for number, (to, data) in enumerate(forgeries(engine, nodes[0], pickle.dumps(Touch(str(mark))))):
                transport.send(to, data)
                if number == FORGED // 2:
                    results = manifold.scatter(work, range(5000), engine=engine, chunk_size=100)
                    assert list(results) == [number * number for number in range(5000)]
        finally:
            transport.close()
        until(lambda: engine.refused and engine.refused_by_workers, "both sides have counted what they refused")
        results = manifold.scatter(work, range(5000), engine=engine, chunk_size=100)
        assert list(results) == [number * number for number in range(5000)]
        assert {worker.node for worker in engine.workers() if worker.alive} == set(nodes), "no worker was made up"
    assert not mark.exists()


def test_a_call_that_somebody_sends_again_does_not_run_again(running: Fleet, tmp_path: Path) -> None:
    """Also not at another worker, or at the same one later."""
    with running.engine(2) as engine:
        assert isinstance(engine, RemoteEngine)
        recorded: list[tuple[str, bytes]] = []
        post = engine._publisher.post

        def record(to: str, make: Any, **options: Any) -> None:
            def made() -> bytes:
                data: bytes = make()
                recorded.append((to, data))
                return data

            post(to, made, **options)

        engine._publisher.post = record  # type: ignore[method-assign]
        assert engine.submit(os.mkdir, str(tmp_path / "once")).result(60) is None
        (tmp_path / "once").rmdir()
        transport = engine.transport.connect(engine._place)
        for to, data in recorded:
            for node in {to, *(worker.node for worker in engine.workers())}:
                for _ in range(3):
                    transport.send(node, data)
        transport.close()
        assert [engine.submit(work, n).result(60) for n in range(8)] == [n * n for n in range(8)]
        assert not (tmp_path / "once").exists()
