"""`rate_limit`: tokens for executions of items, over the whole scatter."""

from __future__ import annotations


class TokenBucket:
    """A token bucket. It begins empty with each coordinator, so that restarts cannot exceed the rate.

    Args:
        per_second: executions per second; None for no limit.
        now: the coordinator's monotonic clock, seconds.
    """

    def __init__(self, per_second: float | None, now: float) -> None:
        self.per_second = per_second
        self._tokens = 0.0
        self._at = now

    def change(self, per_second: float | None, now: float) -> None:
        """Another rate from now on; what was saved up under the old one is dropped."""
        self._refill(now)
        self.per_second = per_second
        self._tokens = min(self._tokens, 0.0)

    def most(self, slots: int) -> int | None:
        """Items that a chunk may have: a second of one slot's share; None for no limit."""
        return None if self.per_second is None else max(1, int(self.per_second / max(1, slots)))

    def pace(self, slots: int) -> float:
        """Seconds between two executions in one slot, at the least; a fifth faster than its share.

        The tokens bound the average; the margin lets a slot make up for the time between two chunks.
        """
        return 0.0 if self.per_second is None else 0.8 * max(1, slots) / self.per_second

    def take(self, items: int, now: float) -> bool:
        """Grant `items` executions if there are tokens; False (and nothing taken) if not yet."""
        if self.per_second is None:
            return True
        self._refill(now, room=float(items))
        if self._tokens < items:
            return False
        self._tokens -= items
        return True

    def charge(self, executions: int) -> None:
        """Retries ran as well: they are paid for afterwards."""
        if self.per_second is not None:
            self._tokens -= executions

    def wait(self, items: int) -> float:
        """Seconds until `items` can be granted."""
        if self.per_second is None:
            return 0.0
        return max(0.0, (items - self._tokens) / self.per_second)

    def _refill(self, now: float, room: float = 0.0) -> None:
        if self.per_second is not None:
            # A second's worth is kept at most, so that a pause is not followed by a burst.
            most = max(self.per_second, room)
            self._tokens = min(most, self._tokens + (now - self._at) * self.per_second)
        self._at = now
