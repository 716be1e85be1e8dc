"""Chunks on their way: sealing and sending attempts, reading what comes back, knowing what is in flight."""

from __future__ import annotations

import queue
import threading
import uuid
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from manifold.abc import Engine
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.held import HeldItems
from manifold.errors import WireError
from manifold.protocol import envelope
from manifold.protocol.records import Attempt, Receipt
from manifold.protocol.task import Answer, ChunkTask, Versions
from manifold.worker import run as worker

_SMALL_JOB = 256 * 1024  # bytes that are worth no detour over the store


@dataclass(slots=True, eq=False)
class Sent:
    """One attempt that is out."""

    attempt: Attempt
    chunk: Chunk
    at: float = 0.0
    future: Future[bytes] | None = None
    copied: bool = False


class InFlight:
    """What is out, by attempt, in the order of sending; and what of it lies in a range, without a look at all of it."""

    def __init__(self) -> None:
        self._sent: dict[str, Sent] = {}
        self._by_start: list[tuple[int, int, str]] = []

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sent)

    def values(self) -> Iterable[Sent]:
        """Return all of it; nothing may be added or taken while it is walked through."""
        return self._sent.values()

    def add(self, sent: Sent) -> None:
        """It is out from now on, or once more."""
        if sent.attempt.id not in self._sent:
            insort(self._by_start, _place(sent))
        self._sent[sent.attempt.id] = sent

    def take(self, attempt_id: str) -> Sent | None:
        """Return what was sent, which is not out any more; None where it was not."""
        if (sent := self._sent.pop(attempt_id, None)) is not None:
            del self._by_start[bisect_left(self._by_start, _place(sent))]
        return sent

    def within(self, layer: int, start: int, stop: int) -> list[Sent]:
        """Return what lies inside [start, stop) of a layer."""
        first = bisect_left(self._by_start, (layer, start, ""))
        last = bisect_left(self._by_start, (layer, stop, ""))
        here = (self._sent[attempt_id] for _, _, attempt_id in self._by_start[first:last])
        return [sent for sent in here if sent.attempt.stop <= stop]

    def clear(self) -> None:
        """Nothing is out any more."""
        self._sent.clear()
        self._by_start.clear()


def _place(sent: Sent) -> tuple[int, int, str]:
    return sent.attempt.layer, sent.attempt.start, sent.attempt.id


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: an answer, or the error that its future ended with. `sent` is None for a stray one."""

    attempt: str
    sent: Sent | None
    answer: Answer | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """What every task of a scatter has in common."""

    uid: str
    epoch: int
    key_id: str
    ledger_uuid: str
    job_digest: str
    job_key: str
    job_blob: bytes
    secrets: bytes | None
    code_digest: str
    store: str | None
    digest_items: bool
    most_bytes: int


class Dispatch:
    """Sends chunks to an engine and collects what comes back, in the coordinator's thread.

    Args:
        new_id: makes the id of an attempt; a simulation brings its own.
    """

    def __init__(
        self,
        engine: Engine,
        keyring: envelope.Keyring,
        address: Address,
        *,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._address = address
        self._new_id = new_id
        self.refused = 0  # answers that nobody of this deployment had signed
        self._arrived: queue.SimpleQueue[tuple[str, Future[bytes]]] = queue.SimpleQueue()
        self.signal = threading.Event()
        """Set when something has arrived."""
        self.in_flight = InFlight()
        self._answered = 0

    def attempt(self, chunk: Chunk) -> Attempt:
        """A new attempt for `chunk`. It must be in the ledger before `send`."""
        where = self._address
        return Attempt(self._new_id(), where.uid, chunk.layer, chunk.start, chunk.stop, where.epoch, chunk.why)

    def send(self, sent: Sent, *, now: float, allowance: int, pace: float, with_job: bool = False) -> int:
        """Send it (again); returns the bytes of its packed items (0 for a range). Raises what the engine's submit does.

        The job goes along until every slot is likely to have had it once, after a loss (to a new worker, perhaps), and
        where a worker asked for it (`with_job`).
        """
        attempt, chunk = sent.attempt, sent.chunk
        where = self._address
        packed = chunk.pack()
        with_secrets = with_job or chunk.sent > 0 or self._answered < 2 * max(1, self._engine.slots())
        if where.store is None or len(where.job_blob) <= _SMALL_JOB:  # else workers get it from the store
            with_job = with_secrets
        task = ChunkTask(
            versions=Versions.here(),
            uid=where.uid,
            epoch=where.epoch,
            layer=chunk.layer,
            attempt=attempt.id,
            start=chunk.start,
            stop=chunk.stop,
            job_digest=where.job_digest,
            job_key=where.job_key,
            code_digest=where.code_digest,
            key_id=where.key_id,
            ledger_uuid=where.ledger_uuid,
            positions=chunk.positions,
            job=where.job_blob if with_job else None,
            secrets=where.secrets if with_secrets else None,
            store=where.store,
            allowance=allowance,
            pace=pace,
            careful=chunk.strikes > 0,
            digest_items=where.digest_items,
            prove=chunk.prove,
            most_bytes=where.most_bytes,
            **packed,
        )
        header = envelope.Header(
            kind="task",
            uid=where.uid,
            key_id=where.key_id,
            layer=chunk.layer,
            start=chunk.start,
            stop=chunk.stop,
            attempt=attempt.id,
        )
        message = envelope.seal(self._keyring, header, envelope.encode(task))
        chunk.sent += 1
        if "packed" in packed and chunk.items:
            chunk.items = HeldItems(len(chunk), partial(self._items_of, message))
        sent.at = now
        self.in_flight.add(sent)
        sent.future = self._engine.submit_as(attempt.id, worker.run_chunk, message)
        self._await(sent, sent.future)
        return _weight(packed)

    def _items_of(self, message: bytes) -> bytes:
        """The pickled items that a task carries."""
        _, payload = envelope.unseal(self._keyring, message, "task")
        packed = msgspec.msgpack.decode(payload, type=ChunkTask).packed
        assert packed is not None
        return packed

    def adopt(self, attempt: Attempt, chunk: Chunk, future: Future[bytes], now: float) -> None:
        """Wait for an attempt that a coordinator before this one has sent."""
        chunk.sent = 1
        sent = Sent(attempt, chunk, at=now, future=future)
        self.in_flight.add(sent)
        self._await(sent, future)

    def arrive(self, attempt_id: str, future: Future[bytes]) -> None:
        """Called from any thread when an attempt's future is done."""
        self._arrived.put((attempt_id, future))
        self.signal.set()

    def collect(self) -> Iterator[Outcome]:
        """Yield what has arrived since the last call; what the caller does not take is there at the next call."""
        self.signal.clear()
        for _ in range(self._arrived.qsize()):
            attempt_id, future = self._arrived.get_nowait()
            sent = self.in_flight.take(attempt_id)
            yield self._read(attempt_id, sent, future)

    def covering(self, layer: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The ranges in flight that touch [start, stop) of a layer."""
        for sent in self.in_flight.values():
            one = sent.attempt
            if one.layer == layer and one.start < stop and start < one.stop:
                yield one.start, one.stop

    def stop(self, sent: Sent) -> None:
        """What it gives is not wanted any more."""
        if sent.future is not None:
            self._engine.kill(sent.future)

    def stop_copies(self, receipt: Receipt) -> int:
        """Stop, and wait no longer for, what is at work on items that `receipt` has just committed.

        Returns how many of them were second copies of a straggler.
        """
        copies = 0
        for sent in self.in_flight.within(receipt.layer, receipt.start, receipt.stop):
            self.stop(sent)
            self.in_flight.take(sent.attempt.id)
            copies += sent.chunk.why == "speculative"
        return copies

    def leave_all(self) -> None:
        """Let what is in flight run on: the next coordinator waits for it."""
        for sent in list(self.in_flight.values()):
            if sent.future is not None:
                self._engine.leave(sent.future)
        self.in_flight.clear()

    def stop_all(self) -> None:
        """Nothing that is in flight is wanted any more."""
        for sent in list(self.in_flight.values()):
            self.stop(sent)
        self.in_flight.clear()

    def read(self, attempt_id: str, future: Future[bytes]) -> Outcome:
        """Return what came of an attempt that nobody here has sent; its future is done."""
        return self._read(attempt_id, None, future)

    def _await(self, sent: Sent, future: Future[bytes]) -> None:
        attempt_id = sent.attempt.id
        future.add_done_callback(lambda done: self.arrive(attempt_id, done))

    def _read(self, attempt_id: str, sent: Sent | None, future: Future[bytes]) -> Outcome:
        if future.cancelled():
            return Outcome(attempt_id, sent, error=CancelledError("the engine gave it up"))
        if (error := future.exception()) is not None:
            return Outcome(attempt_id, sent, error=error)
        try:
            _, payload = envelope.unseal(
                self._keyring, future.result(), "receipt", uid=self._address.uid, attempt=attempt_id
            )
            answer = msgspec.msgpack.decode(payload, type=Answer)
        except (WireError, msgspec.MsgspecError) as exc:
            self.refused += 1
            return Outcome(attempt_id, sent, error=exc)
        if answer.receipt is not None:
            self._answered += 1
        return Outcome(attempt_id, sent, answer=answer)


def _weight(packed: dict[str, Any]) -> int:
    if "packed" in packed:
        return len(packed["packed"])
    return sum(len(one) for one in packed.get("each", ()) if isinstance(one, bytes))
