"""Is an item tried again after this error, and when?"""

from __future__ import annotations

import random
from collections.abc import Sequence

from manifold.errors import ItemTimeout, RetryItem, SkipItem, Unpicklable
from manifold.protocol.job import Job

_LONGEST_BACKOFF = 60.0  # seconds


def again(job: Job, exc: BaseException, attempts: int) -> bool:
    """The item that has raised `exc`, executed `attempts` times so far, is executed once more."""
    if attempts > job.item_retries or skips(exc) or isinstance(exc, Unpicklable):
        return False
    if isinstance(exc, RetryItem):
        return True
    if not isinstance(exc, (Exception, ItemTimeout)) or _named(exc, ("AirflowFailException",)):
        return False
    if _named(exc, job.no_retry_on):
        return False
    return not job.retry_on or _named(exc, job.retry_on)


def delay(job: Job, exc: BaseException, attempts: int) -> float:
    """Seconds until then: what `RetryItem(after=…)` says, else the backoff."""
    if isinstance(exc, RetryItem) and exc.after is not None:
        return max(0.0, exc.after)
    longest = min(_LONGEST_BACKOFF, job.item_backoff * 2.0 ** (attempts - 1))
    return random.uniform(longest / 2, longest)  # half of it is jitter, so that retries do not come in step


def skips(exc: BaseException) -> bool:
    """The item is to be skipped: neither a result nor a failure."""
    return isinstance(exc, SkipItem) or _named(exc, ("AirflowSkipException",))


def _named(exc: BaseException, wanted: Sequence[str | type[BaseException]]) -> bool:
    """`exc` is one of these classes; those given by name match with and without their module."""
    for one in wanted:
        if isinstance(one, type):
            if isinstance(exc, one):
                return True
        elif any(one in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}") for kind in type(exc).__mro__):
            return True
    return False
