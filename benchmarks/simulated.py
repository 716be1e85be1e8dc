"""An engine of many slots that do no work: one other process answers every task, with a receipt as workers make it.

What remains is the coordinator and its ledger. The results that the receipts speak of are in no store.
"""

from __future__ import annotations

import heapq
import os
import queue
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from socket import socketpair
from typing import Any, ClassVar, Self

import msgspec

from manifold import config
from manifold.abc import Engine
from manifold.errors import ConfigError
from manifold.protocol import envelope
from manifold.protocol.blob_keys import chunk_key
from manifold.protocol.records import Receipt, WorkerInfo
from manifold.protocol.task import Answer, ChunkTask

_AT_ONCE = 64  # calls in one message to the other process


class SimulatedEngine(Engine):
    """`slots` slots, each with a worker's name and busy for about `seconds` with a chunk. It runs sealed tasks only."""

    same_host: ClassVar[bool] = True

    def __init__(self, slots: int, seconds: float = 0.0) -> None:
        self._slots = slots
        self._calls = 0
        self._pending: dict[int, Future[Any]] = {}
        self._outbox: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        here, there = socketpair()
        command = [sys.executable, "-m", "benchmarks.simulated", str(there.fileno()), str(slots), str(seconds)]
        self._process = subprocess.Popen(command, pass_fds=[there.fileno()])
        there.close()
        self._pipe = Connection(here.detach())
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        raise ConfigError("the simulated engine has no URL")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._calls += 1
        future = self._pending[self._calls] = Future[Any]()
        self._outbox.put((self._calls, args[0]))
        return future

    def kill(self, future: Future[Any]) -> None:
        """Do nothing: its answer comes at once, or has come."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._outbox.put(None)
        for thread in self._threads:
            thread.join()
        self._process.wait()
        self._pipe.close()

    def slots(self) -> int:
        return self._slots

    def workers(self) -> list[WorkerInfo]:
        host = socket.gethostname()
        return [WorkerInfo(_name(number), host, self._process.pid) for number in range(self._slots)]

    def _send(self) -> None:
        while (call := self._outbox.get()) is not None:
            calls = [call]
            while len(calls) < _AT_ONCE and not self._outbox.empty() and (call := self._outbox.get()) is not None:
                calls.append(call)
            self._pipe.send_bytes(msgspec.msgpack.encode(calls))
            if call is None:
                break
        self._pipe.send_bytes(b"")

    def _receive(self) -> None:
        while data := self._pipe.recv_bytes():
            for call, answer in msgspec.msgpack.decode(data, type=list[tuple[int, bytes]]):
                self._pending.pop(call).set_result(answer)


def _name(slot: int) -> str:
    return f"{socket.gethostname()}:simulated-{slot}"


def _answer(keyring: envelope.Keyring, message: bytes, worker: str) -> bytes:
    """Return what a worker answers whose items all have a result, but for the results themselves."""
    header, payload = envelope.unseal(keyring, message, "task")
    task = msgspec.msgpack.decode(payload, type=ChunkTask)
    nonce = os.urandom(8).hex()
    receipt = Receipt(
        uid=task.uid,
        epoch=task.epoch,
        layer=task.layer,
        attempt=task.attempt,
        nonce=nonce,
        start=task.start,
        stop=task.stop,
        n_ok=task.stop - task.start,
        n_failed=0,
        n_skipped=0,
        worker=worker,
        host=socket.gethostname(),
        pid=os.getpid(),
        seconds=0.001,
        blob_key=chunk_key(task.ledger_uuid, task.uid, task.start, task.stop, task.attempt, nonce, "r"),
        blob_digest=header.digest,
        blob_bytes=100,
        executions=task.stop - task.start,
        result_bytes=100,
        code_digest=task.code_digest,
    )
    sealed = msgspec.structs.replace(header, kind="receipt", nonce=nonce)
    return envelope.seal(keyring, sealed, envelope.encode(Answer(receipt=receipt)))


def _serve(pipe: Connection, slots: int, seconds: float) -> None:
    """Answer each call when its slot is done with it, until the empty message, which is sent back."""
    keyring, free, rng = config.keyring(), [time.monotonic()] * slots, random.Random(0)
    due: list[tuple[float, int, bytes]] = []
    while True:
        wait = due[0][0] - time.monotonic() if due else None
        if pipe.poll(None if wait is None else max(0.0, wait)):
            if not (data := pipe.recv_bytes()):
                break
            now = time.monotonic()
            for call, message in msgspec.msgpack.decode(data, type=list[tuple[int, bytes]]):
                slot = call % slots
                free[slot] = max(now, free[slot]) + rng.uniform(0.5, 1.5) * seconds
                heapq.heappush(due, (free[slot], call, _answer(keyring, message, _name(slot))))
        now, answers = time.monotonic(), []
        while due and due[0][0] <= now:
            answers.append(heapq.heappop(due)[1:])
        if answers:
            pipe.send_bytes(msgspec.msgpack.encode(answers))
    pipe.send_bytes(b"")


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3]))
