"""Worker processes of one host: what is not a frame of ours is not unpickled, and ends one worker at most."""

from __future__ import annotations

import io
import os
import random
import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import cast

import psutil
import pytest

import manifold
from manifold.abc import Engine
from manifold.engines.open import open_engine
from manifold.engines.processes.forkserver import _REQUEST, ForkServer, Verb
from manifold.engines.processes.frames import KEY, Frame, Kind, Link, pack_call, pack_result, read_frames, unpack_result
from manifold.errors import WireError, WorkerLost
from manifold.testing import calls
from manifold.testing.engines import SLOW, until
from tests.security.canary import Canary
from tests.security.mutate import mutants

MESSAGES = 10_000
SEED = 20261125
OURS = bytes(range(KEY))


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with open_engine("processes://2") as engine:
        yield engine


def answers() -> list[Frame]:
    return [
        Frame(Kind.RETURNED, 3),
        pack_result(4, {"a": [1, 2]}),
        pack_result(5, b"a blob" * 100),
        Frame(Kind.ERROR, 6, b"an error"),
    ]


def packed(frame: Frame, key: bytes = OURS) -> bytes:
    return b"".join(frame.parts(key))


def to_be_unpickled(frame: Frame) -> Frame:
    """Without its blob, which is never unpickled here: those of a scatter are sealed."""
    return frame._replace(blob=b"")


def heard(data: bytes) -> tuple[list[Frame], type[Exception]]:
    """What a coordinator takes of these bytes from a worker, and how it ends."""
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    link, found = Link(ours, OURS), list[Frame]()
    with theirs:
        theirs.sendall(data)
    try:
        for frame in link.received():
            found.append(frame)
    except (EOFError, WireError) as exc:
        return found, type(exc)
    finally:
        link.close()
    raise AssertionError("a socket that is closed has an end")


def test_genuine_answers_arrive() -> None:
    found, end = heard(b"".join(map(packed, answers())))
    assert found == answers()
    assert end is EOFError
    assert unpack_result(found[1]) == {"a": [1, 2]}


@pytest.mark.parametrize(
    "data",
    [
        packed(answers()[1], key=bytes(KEY)),
        packed(pack_call(1, len, ("x",), {})),
        packed(answers()[1])[:-1] + b"\0",
        b"\0" * 100,
        b"\xff" * 100,
    ],
    ids=["another key", "a call", "altered", "zeros", "a length of 2**64"],
)
def test_what_is_no_answer_is_found(data: bytes) -> None:
    assert heard(data) == ([], WireError)


def test_of_ten_thousand_frames_gone_wrong_only_what_is_whole_before_them_is_taken(canary: Canary) -> None:
    genuine = answers()
    known = [to_be_unpickled(frame) for frame in genuine]
    for data in islice(mutants(SEED, [packed(frame) for frame in genuine], canary.pickled), MESSAGES):
        found, _ = heard(data[:150_000])
        assert all(to_be_unpickled(frame) in known for frame in found), f"seed {SEED}"
    assert canary.alive


def test_a_worker_takes_no_call_that_its_coordinator_has_not_sent(canary: Canary) -> None:
    genuine = [pack_call(1, len, ("x",), {}), pack_call(2, len, (b"a blob" * 100,), {}), Frame(Kind.RECALL, 1)]
    known = [to_be_unpickled(frame) for frame in genuine]
    for data in islice(mutants(SEED, [packed(frame) for frame in genuine], canary.pickled), MESSAGES):
        stream = cast("io.BufferedReader", io.BytesIO(data))
        found = list(_until_broken(read_frames(stream, OURS)))
        assert all(to_be_unpickled(frame) in known for frame in found), f"seed {SEED}"
    assert canary.alive


def _until_broken(frames: Iterator[Frame]) -> Iterator[Frame]:
    try:
        yield from frames
    except WireError:
        return


# The whole engine


def say_something_else(pickled: bytes, seed: int) -> None:
    """In a worker: write to every socket that there is, as code gone wild would."""
    dice = random.Random(seed)
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), pickled + dice.randbytes(200))
        except OSError:
            continue


def test_a_worker_whose_code_writes_to_its_socket_is_replaced(engine: Engine, canary: Canary) -> None:
    for seed in range(3):
        future = engine.submit(say_something_else, canary.pickled, seed)
        assert isinstance(future.exception(SLOW), WorkerLost)
    assert [engine.submit(calls.echo, n).result(SLOW) for n in range(20)] == list(range(20))
    assert engine.slots() == 2
    assert canary.alive


def square_or_babble(n: int) -> int:
    if n == 700:
        say_something_else(b"c" * 100, n)
    return n * n


def test_the_item_that_writes_there_is_found_and_put_aside(tmp_path: Path) -> None:
    results = manifold.scatter(
        square_or_babble,
        range(1_000),
        engine="processes://2",
        store=(tmp_path / "store").as_uri(),
        ledger=f"sqlite:///{tmp_path}/ledger.db",
        tolerate=1,
        chunk_size=100,
    )
    assert list(results) == [n * n for n in range(1_000) if n != 700]
    assert [failure.position for failure in results.failures()] == [700]


# The fork server


def test_ten_thousand_odd_requests_leave_the_fork_server_alive() -> None:
    server, dice = ForkServer(fresh=False), random.Random(SEED)
    pid = server._process.pid
    try:
        for _ in range(MESSAGES):
            verb, worker = dice.randrange(256), dice.randrange(2**32)
            server._control.sendall(_REQUEST.pack(verb, worker))  # a START without a socket, too
        server._control.sendall(_REQUEST.pack(Verb.KILL, 7))
        descriptor = os.open(os.devnull, os.O_RDONLY)
        socket.send_fds(server._control, [_REQUEST.pack(99, 1)], [descriptor])
        socket.send_fds(server._control, [_REQUEST.pack(Verb.START, 1)], [descriptor])
        os.close(descriptor)
        process = psutil.Process(pid)
        # Three are its own: to the coordinator, and two to be woken by. Nothing that it was handed stays.
        until(lambda: process.num_fds() <= 3 + 3, "it has closed what it was handed")
        assert server._process.poll() is None
        assert list(server.reports()) == []
    finally:
        server.close()
