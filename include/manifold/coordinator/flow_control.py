"""Which chunks go next: how many, how large, how fast, and second copies of stragglers."""

from __future__ import annotations

from manifold.coordinator.chunks import Chunk, Sizer
from manifold.coordinator.dispatch import Sent
from manifold.coordinator.pending import PendingChunks
from manifold.coordinator.wiring import Context
from manifold.policy import Policy
from manifold.protocol.records import Receipt
from manifold.token_bucket import TokenBucket

WINDOW = 2  # chunks in flight per slot: one runs, one waits where the worker finds it at once
_LONGEST_WAIT = 1.0


class FlowControl:
    """Chooses from a pending, as the options, the free slots and what was measured so far allow.

    Attributes:
        share: how many scatters share the engine.
    """

    def __init__(self, context: Context, pending: PendingChunks) -> None:
        self._pending = pending
        self._dispatch = context.dispatch
        self._engine = context.engine
        self._policy = policy = context.policy
        most = min(policy.chunk_bytes, context.store.max_bytes or policy.chunk_bytes)
        self._sizer = Sizer(policy.chunk_size, policy.first_chunk, policy.chunk_bytes, most)
        self._rate = TokenBucket(policy.rate_limit, context.clock.monotonic())
        self._lacking = 0  # items that wait for tokens of the rate
        self.share = 1

    def change(self, policy: Policy, now: float) -> None:
        """Other options from now on."""
        self._policy = policy
        self._rate.change(policy.rate_limit, now)

    def next(self, now: float, *, resting: bool) -> list[Chunk]:
        """The chunks to send now; none while `resting`."""
        chosen: list[Chunk] = []
        self._lacking = 0
        if resting:
            return chosen
        for _ in range(self._room()):
            chunk = self._pending.take(now, self._size, self._sizer.fitting()) or self._copy_of_straggler(now)
            if chunk is None:
                break
            if not self._rate.take(len(chunk), now):
                self._pending.put_back(chunk)
                self._lacking = len(chunk)
                break
            chosen.append(chunk)
        return chosen

    def patience(self) -> float:
        """Seconds until it is worth choosing again, if nothing arrives before."""
        if self._lacking:
            return min(_LONGEST_WAIT, max(0.005, self._rate.wait(self._lacking)))
        return 0.05 if self._pending.ready else 0.25

    def pace(self) -> float:
        """Seconds between two executions in one slot, at the least."""
        slots = self._slots()
        return self._rate.pace(min(slots, self._policy.max_concurrency or slots))

    def sent(self, sent: Sent, packed: int) -> None:
        """A chunk was sent; its items weigh `packed` bytes."""
        self._sizer.packed(len(sent.chunk), packed)

    def settled(self, receipt: Receipt, *, won: bool) -> None:
        """A receipt counts, or does not: retries are paid for, and a chunk's time is a measurement."""
        done = receipt.n_ok + receipt.n_failed + receipt.n_skipped
        self._rate.charge(receipt.executions - done)
        self._sizer.returned(receipt.n_ok, max(receipt.result_bytes, receipt.blob_bytes))
        if won:
            self._sizer.measured(done, receipt.seconds)

    def _slots(self) -> int:
        return max(1, self._engine.slots())

    def _room(self) -> int:
        """Chunks that may be sent now: two per slot, shared with the scatters that run on the same engine."""
        window = -(-WINDOW * self._engine.slots() // self.share)
        if self._policy.max_concurrency is not None:
            window = min(window, self._policy.max_concurrency)
        return window - len(self._dispatch.in_flight)

    def _size(self, remaining: int | None) -> int:
        slots = self._slots()
        size = self._sizer.size(remaining, slots)
        return min(size, self._rate.most(slots) or size)

    def _copy_of_straggler(self, now: float) -> Chunk | None:
        """A second copy of the chunk that has been out longest, where that was asked for and slots idle."""
        if not self._policy.speculate or self._pending.ready:
            return None
        for sent in sorted(self._dispatch.in_flight.values(), key=lambda one: one.at):
            one = sent.attempt
            alone = len(list(self._dispatch.covering(one.layer, one.start, one.stop))) == 1
            if sent.copied or sent.chunk.strikes or not alone:  # what killed a process is not a straggler
                continue
            if self._sizer.straggles(now - sent.at, len(sent.chunk)):
                sent.copied = True
                return sent.chunk.copy()
        return None
