"""The failure budget (`tolerate`) and the breaker (`stop_after_same_error`), over committed outcomes only."""

from __future__ import annotations

from manifold.errors import TooManyFailures
from manifold.policy import Policy, Tolerance
from manifold.protocol.records import MAX_CHUNK, Receipt, ScatterRow
from manifold.text import counted, shortened


class Budget:
    """Counts what failed in this try.

    Args:
        queued: items that failed in earlier tries and run again in this one. They count when they have failed again;
            otherwise a scatter that ended on its budget could never be continued.
    """

    def __init__(self, policy: Policy, *, queued: int = 0) -> None:
        self._tolerance: Tolerance = policy.tolerate
        self._breaker = policy.stop_after_same_error
        self._queued = queued
        self._others = 0
        self._alike = 0
        self._kinds: dict[str, str] = {}

    def change(self, policy: Policy) -> None:
        """Another policy from now on."""
        self._tolerance = policy.tolerate

    def requeue(self, failed: int) -> None:
        """So many items that failed in earlier tries have still, or again, to run in this one."""
        self._queued = failed

    def count(self, receipt: Receipt) -> None:
        """A receipt that won."""
        if receipt.layer > 0:
            self._queued = max(0, self._queued - receipt.n_ok - receipt.n_failed - receipt.n_skipped)
        self._others += receipt.n_ok + receipt.n_skipped
        self._alike += receipt.n_failed
        for one in receipt.failures[: 2 if len(self._kinds) < 2 else 0]:
            self._kinds.setdefault(one.fingerprint, f"{one.type}: {one.message}")

    def left(self, row: ScatterRow) -> int:
        """Items that a chunk may fail before its worker stops early."""
        return max(0, min(MAX_CHUNK, self._tolerance.budget(row.done, row.total) - self._failed(row)))

    def check(self, row: ScatterRow) -> None:
        """Raises TooManyFailures where the scatter has no hope left."""
        failed, budget = self._failed(row), self._tolerance.budget(row.done, row.total)
        if failed > budget:
            raise TooManyFailures(
                f"{counted(failed, 'item')} failed, and tolerate allows {budget:,} ({self._kind()}). What succeeded is "
                f"kept. Fix the cause and redrive the failed items (scatter {row.title}), or allow more by tolerate="
            )
        if self._breaker and not self._others and self._alike >= self._breaker and len(self._kinds) == 1:
            raise TooManyFailures(
                f"the first {self._alike:,} items that finished all failed alike ({self._kind()}), "
                f"and stop_after_same_error={self._breaker}"
            )

    def _failed(self, row: ScatterRow) -> int:
        return row.n_failed - self._queued

    def _kind(self) -> str:
        return shortened(next(iter(self._kinds.values()), "see the failed items"), 300)
