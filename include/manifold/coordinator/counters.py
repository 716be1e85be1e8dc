"""What a coordinator counts for the metrics: in memory, as sums since its try began, by names that the ledger keeps.

A histogram is one sum per bucket that something fell into (`chunk_seconds:0.5`, not cumulative) and one of all values
(`chunk_seconds:sum`). The ledger gets the sums with transactions that are made anyway; what a coordinator that dies
unannounced had counted since is missing from the metrics, never from the account.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable
from typing import Literal

from manifold.protocol.records import Receipt

BUCKETS: dict[str, tuple[float, ...]] = {
    "chunk_seconds": (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
    "commit_seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
    "first_result_seconds": (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
}
"""The upper bounds of each histogram's buckets, in seconds; one more takes the rest."""
REST = "inf"

Count = Literal[
    "items:succeeded",
    "items:failed",
    "items:skipped",
    "retries",
    "lost",
    "speculations:won",
    "speculations:lost",
    "refused",
    "bytes:in",
    "bytes:out",
]
Histogram = Literal["chunk_seconds", "commit_seconds", "first_result_seconds"]


class Counters:
    """The sums of one try, which begins now. `sums` has those that are not zero."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.sums: dict[str, float] = {}
        self._monotonic = monotonic
        self._began: float | None = monotonic()

    def add(self, name: Count, amount: float = 1) -> None:
        """Count something."""
        if amount:
            self.sums[name] = self.sums.get(name, 0) + amount

    def observe(self, name: Histogram, seconds: float) -> None:
        """Put a duration into a histogram."""
        bounds = BUCKETS[name]
        at = bisect.bisect_left(bounds, seconds)
        for part, amount in ((f"{bounds[at]:g}" if at < len(bounds) else REST, 1), ("sum", seconds)):
            key = f"{name}:{part}"
            self.sums[key] = self.sums.get(key, 0) + amount

    def committed(self, receipt: Receipt) -> None:
        """Count a receipt that won."""
        self.add("items:succeeded", receipt.n_ok)
        self.add("items:failed", receipt.n_failed)
        self.add("items:skipped", receipt.n_skipped)
        self.add("bytes:out", receipt.blob_bytes)
        self.observe("chunk_seconds", receipt.seconds)
        if self._began is not None:
            self.observe("first_result_seconds", self._monotonic() - self._began)
            self._began = None
