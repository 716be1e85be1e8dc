"""How long ledger and stores are waited for while they are away, and in which steps: one rule for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.wait import wait_base, wait_exponential

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds that something is tried again before its caller learns that ledger or store are gone."""

WORKER_PATIENCE = 60.0
"""Seconds that a worker keeps results which the store does not take. Then another worker has its turn, since the way to
the store may be cut from this host alone."""


def persist(
    work: Callable[[], T],
    may_pass: Callable[[BaseException], bool],
    *,
    patience: float,
    sleep: Callable[[float], None],
    before_sleep: Callable[[RetryCallState], None],
    wait: wait_base | None = None,
) -> T:
    """Return what `work` returns, called again while it raises what `may_pass`, until `patience` seconds are over.

    Seconds count as they pass, or as `sleep` was told to let them pass, whichever are more.
    """
    try:
        return work()
    except BaseException as exc:
        if not may_pass(exc):
            raise
        failed = [exc]

    def again() -> T:
        if failed:
            raise failed.pop()  # the first failure counts, and is waited after, as any other
        return work()

    def over(state: RetryCallState) -> bool:
        return max(state.idle_for, state.seconds_since_start or 0.0) >= patience

    return Retrying(
        retry=retry_if_exception(may_pass),
        wait=wait or wait_exponential(multiplier=0.1, max=5),
        stop=over,
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )(again)
