"""The engine that one coordinator holds: its connection to the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar, Self

import msgspec

from manifold import config
from manifold.abc import Engine
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.dispatch import Dispatch, Sent
from manifold.coordinator.flow_control import WINDOW
from manifold.errors import ConfigError, EngineError
from manifold.protocol import envelope
from manifold.protocol.records import Attempt, WorkerInfo
from manifold.protocol.task import ChunkTask
from manifold.worker.run import run_chunk
from tests.simulation.checks import Checks
from tests.simulation.cluster import Cluster
from tests.simulation.model import Model
from tests.simulation.setting import CHUNK_BYTES
from tests.simulation.work import Given
from tests.simulation.workers import Delivery
from tests.simulation.world import Actor


class SimEngine(Engine):
    """What a coordinator sends goes to the shared cluster; what it holds in flight is counted.

    Args:
        model: what its items do.
        checks: are asked about each attempt before it goes out.
        adaptive: the author has not said how many items a chunk has.
        speculates: second copies were asked for.
        rate: executions a second, at the most.
        given: what its items are given.
        timeout: seconds that an item may take.
    """

    reattaches: ClassVar[bool] = True
    kills_items: ClassVar[bool] = True

    def __init__(
        self,
        cluster: Cluster,
        model: Model,
        actor: Actor,
        checks: Checks,
        *,
        adaptive: bool,
        speculates: bool,
        rate: float | None,
        given: Given,
        timeout: float | None,
    ) -> None:
        self.model = model
        self.actor = actor
        self.given = given
        self.timeout = timeout
        self.dispatch: Dispatch | None = None
        self.uid = ""
        self.epoch = 0
        self.began = 0.0
        self.attempts: set[str] = set()
        self.furthest = 0  # the end of what was ever sent
        self._cluster = cluster
        self._checks = checks
        self._adaptive = adaptive
        self._speculates = speculates
        self._rate = rate
        self._granted = 0
        self._settled: list[tuple[int, int, int]] = []
        self._out: dict[Future[Any], Delivery] = {}
        self._most_slots = 0
        self._adopted: dict[str, Future[Any]] = {}
        cluster.engines.append(self)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        raise ConfigError("a simulated engine has no URL")

    def claimed(self, dispatch: Dispatch, uid: str, epoch: int) -> None:
        """Its coordinator owns a scatter, and begins."""
        self.dispatch, self.uid, self.epoch, self.began = dispatch, uid, epoch, self._cluster.world.now

    def chooses_again(self, chunk: Chunk) -> None:
        """Its coordinator has read which items failed, and is about to write down that these run again.

        A host may be lost at this moment that had the database and the broker: the one forgets that they have failed,
        the other that their chunks were run.
        """
        faults = self._cluster.world.faults
        if not faults.hits("database fails over before a re-run", f"[{chunk.start}, {chunk.stop})"):
            return
        self._checks.fail_over(keeps_acquires=True)
        for id_, one in self._checks.now.attempts.items():
            beside = one["start"] < chunk.stop and chunk.start < one["stop"]
            if one["uid"] == self.uid and one["state"] == "open" and one["layer"] == 0 and beside:
                self._cluster.give_out_again([id_])

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert fn is run_chunk
        (message,) = args
        world = self._cluster.world
        self.actor.point("submit")
        if world.faults.hits("submit fails", self.actor.name):
            raise EngineError("the broker does not answer")
        header = envelope.peek(message)
        self._checks.sending(header.attempt)
        if header.attempt not in self.attempts:
            self._paid_for(message, header)
        self.attempts.add(header.attempt)
        self.furthest = max(self.furthest, header.stop)
        self._once(header)
        if self._speculates and any(self._copies(sent.attempt, header) for sent in self._in_flight()):
            self.model.excuses.update(range(header.start, header.stop))
        future: Future[bytes] = Future()
        delivery = Delivery(self, header, message, future, range(header.start, header.stop))
        self._out[future] = delivery
        world.log(f"{self.actor.name} sends {header.attempt} [{header.start}, {header.stop})")
        self._hold(message)
        self._cluster.accept(delivery)
        self.actor.point("sent")
        return future

    def attach(self, scatter: str, epoch: int, calls: Mapping[str, int]) -> dict[str, Future[Any]]:
        assert (scatter, epoch) == (self.uid, self.epoch)
        self.actor.point("attach")
        if calls:
            self.actor.sleep(self._cluster.world.rng.choice((0.2, 3.0)))  # until every worker has spoken
        self._adopted = self._cluster.adopt(self, calls)
        self.actor.point("attached")
        return dict(self._adopted)

    def submit_as(self, call: str, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future = self.submit(fn, *args)
        assert self._out[future].name == call
        return future

    def leave(self, future: Future[Any]) -> None:
        self.actor.point("leave")
        future.cancel()

    def holds(self, future: Future[Any], delivery: Delivery) -> None:
        """It waits for that delivery, too."""
        self._out[future] = delivery

    def kill(self, future: Future[Any]) -> None:
        self.actor.point("stop")
        if not future.done() and future in self._out:
            self._cluster.stop(self._out[future])

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        return

    def slots(self) -> int:
        slots = len(self._cluster.workers)
        self._most_slots = max(self._most_slots, slots)
        return slots

    def workers(self) -> list[WorkerInfo]:
        return self._cluster.seen()

    @property
    def window(self) -> int:
        """Chunks that may be in flight."""
        return WINDOW * self._most_slots

    def settled(self, attempt: str) -> None:
        """An attempt was committed: its retries are paid for from the next round on, its copies are waited for no more.

        Of several executions of it, the one with the fewest retries may be the one that counts.
        """
        runs = self.model.runs.get(attempt, ())
        self._granted += min((sum(ran.calls.values()) - len(ran.calls) for ran in runs), default=0)
        assert self.dispatch is not None
        rows = (row for row in self._checks.now.of(self.uid) if row.attempt == attempt)
        self._settled += [(row.layer, row.start, row.stop) for row in rows]

    def holds_nothing_committed(self) -> None:
        """Nothing is waited for that was committed as a whole in this round."""
        settled, self._settled = self._settled, []
        for one in (sent.attempt for sent in self._in_flight()):
            for layer, start, stop in settled:
                if one.layer == layer and start <= one.start and one.stop <= stop:
                    self._cluster.world.fail(f"{one.id} is waited for, and its items are committed by another")

    def _paid_for(self, message: bytes, header: envelope.Header) -> None:
        """Every execution has a token, and so has every retry that is known of."""
        if self._rate is None:
            return
        _, payload = envelope.unseal(config.keyring(), message, "task")
        task = msgspec.msgpack.decode(payload, type=ChunkTask)
        self._granted += len(task.positions) if task.positions is not None else header.stop - header.start
        seconds = self._cluster.world.now - self.began
        if self._granted > self._rate * seconds + 1e-6 and not self._cluster.rates_change:
            self._cluster.world.fail(
                f"{self._granted} executions are granted in {seconds:.2f} s, at {self._rate:g} a second"
            )

    def _in_flight(self) -> list[Sent]:
        assert self.dispatch is not None
        return list(self.dispatch.in_flight.values())

    @staticmethod
    def _copies(one: Attempt, header: envelope.Header) -> bool:
        overlaps = one.layer == header.layer and one.start < header.stop and header.start < one.stop
        return overlaps and one.id != header.attempt

    def _once(self, header: envelope.Header) -> None:
        """What was adopted is at work on its items; only a copy that was asked for may be so beside it."""
        for sent in self._in_flight():
            one = sent.attempt
            beside = one.layer == header.layer and one.start < header.stop and header.start < one.stop
            if beside and one.id in self._adopted and not sent.copied:
                self._cluster.world.fail(f"[{header.start}, {header.stop}) is sent, and {one.id} is at work on it")

    def _hold(self, message: bytes) -> None:
        """Memory is bounded by the window: so many chunks are in flight, and each has so many bytes."""
        assert self.dispatch is not None
        held = len(self.dispatch.in_flight)
        if held > self.window:
            self._cluster.world.fail(f"{held} chunks are in flight, where {self.window} may be")
        _, payload = envelope.unseal(config.keyring(), message, "task")
        task = msgspec.msgpack.decode(payload, type=ChunkTask)
        weight = len(task.packed or b"") if task.stop - task.start > 1 else 0
        if weight > CHUNK_BYTES and self._adaptive:
            self._cluster.world.fail(f"a chunk of {weight} bytes is sent, where {CHUNK_BYTES} may be")
