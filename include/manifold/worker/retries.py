"""Is an item tried again after this error, and when?"""

from __future__ import annotations

import random

from manifold.error_names import is_named
from manifold.errors import ItemTimeout, RetryItem, SkipItem, Unpicklable
from manifold.protocol.job import Job

_LONGEST_BACKOFF = 60.0  # seconds


def again(job: Job, exc: BaseException, attempts: int) -> bool:
    """The item that has raised `exc`, executed `attempts` times so far, is executed once more."""
    if attempts > job.item_retries or skips(exc) or isinstance(exc, Unpicklable):
        return False
    if isinstance(exc, RetryItem):
        return True
    if not isinstance(exc, (Exception, ItemTimeout)) or is_named(exc, ("AirflowFailException",)):
        return False
    if is_named(exc, job.no_retry_on):
        return False
    return not job.retry_on or is_named(exc, job.retry_on)


def delay(job: Job, exc: BaseException, attempts: int) -> float:
    """Seconds until then: what `RetryItem(after=…)` says, else the backoff."""
    if isinstance(exc, RetryItem) and exc.after is not None:
        return max(0.0, exc.after)
    longest = min(_LONGEST_BACKOFF, job.item_backoff * 2.0 ** (attempts - 1))
    return random.uniform(longest / 2, longest)  # half of it is jitter, so that retries do not come in step


def skips(exc: BaseException) -> bool:
    """The item is to be skipped: neither a result nor a failure."""
    return isinstance(exc, SkipItem) or is_named(exc, ("AirflowSkipException",))
