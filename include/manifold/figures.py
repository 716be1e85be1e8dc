"""Rate, time left and percentiles, from what the ledger committed. Pure: times are those of its database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_RECENT = 60.0  # seconds that the present rate looks back


def recent_rate(commits: Sequence[tuple[float, int]]) -> float | None:
    """Items per second over the last minute; None without two commits in it.

    Args:
        commits: (seconds ago, items), the newest first.

    The oldest commit of the window only says when counting began, and the time since the newest one counts: a
    scatter that stands still slows down.
    """
    recent = [(ago, items) for ago, items in commits if ago <= _RECENT]
    if len(recent) < 2 or recent[-1][0] <= 0:
        return None
    return sum(items for _, items in recent[:-1]) / recent[-1][0]


def mean_rate(done: int, began: float, ended: float) -> float | None:
    """Items per second from beginning to end."""
    return done / (ended - began) if done and ended > began else None


def percentiles(means: Iterable[tuple[float, int]], *shares: float) -> list[float] | None:
    """For each share, the time that so many items stayed below; None without items.

    Args:
        means: (mean seconds of an item, items) of each chunk.
    """
    ordered = sorted(means)
    total = sum(items for _, items in ordered)
    if not total:
        return None
    return [_percentile(ordered, share * total) for share in shares]


def _percentile(ordered: Sequence[tuple[float, int]], rank: float) -> float:
    below = 0
    for seconds, items in ordered:
        below += items
        if below >= rank:
            return seconds
    return ordered[-1][0]
