"""Rate, time left and percentiles, from what the ledger committed. Pure: times are those of its database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_RECENT = 60.0  # seconds that the present rate looks back
_SHORTEST = 0.1  # seconds that no rate is told by


class Work(NamedTuple):
    """Items that were done over `seconds`, until so many seconds `ago`."""

    ago: float
    items: float
    seconds: float = 0.0


def recent_rate(commits: Sequence[Work], running: Work | None = None, *, complete: bool = True) -> float | None:
    """Return the items per second over the last minute; None where nothing was done in it.

    * The items of a chunk count evenly over the time that it ran, those of chunks that run as far as they are done.
    * A scatter that began within the minute is measured from the moment its first chunk began. The time since the
      newest commit counts: one that stands still slows down.

    Args:
        commits: committed chunks, the newest first.
        running: what is done of the chunks that run; None where that is not known.
        complete: these are all commits of the last minute; otherwise only the time since the oldest one counts.
    """
    parts = [one for one in commits if one.ago < _RECENT] + ([running] if running else [])
    if not parts:
        return None
    window = min(_RECENT, max(one.ago + one.seconds for one in parts) if complete else max(commits[-1].ago, 0.0))
    if window < _SHORTEST:
        return None
    # Without word of what runs, the part of the oldest chunks before the window stands for it.
    return sum(one.items * (_share(one, window) if running else 1.0) for one in parts) / window


def _share(work: Work, window: float) -> float:
    """How much of the work lies in the last `window` seconds."""
    if work.ago + work.seconds <= window:
        return 1.0
    return max(0.0, window - work.ago) / work.seconds if work.seconds > 0 else float(work.ago < window)


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
