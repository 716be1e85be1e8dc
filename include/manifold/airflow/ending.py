"""What the exception of a try means to Airflow; and to the ledger, where Airflow starts no further try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTerminated,
    AirflowTaskTimeout,
    TaskDeferred,
)

from manifold.airflow.compat import in_dags_test, is_a_try, may_retry, refused_by_policy, state_in_airflow
from manifold.airflow.resume import Cookie
from manifold.errors import ConfigError, Drained, Fenced, ManifoldError, ScatterBusy, ScatterError
from manifold.redaction import mask

if TYPE_CHECKING:
    from airflow.sdk import Context

    from manifold.ledger import Ledger, Owner
    from manifold.protocol.records import ScatterRow

LOOK_AGAIN = timedelta(minutes=1)
"""How often Airflow starts the task of a drained scatter to see whether somebody has let it continue."""

_FINAL = (AirflowFailException, AirflowSensorTimeout, AirflowTaskTerminated)
"""Where Airflow tries no more, and asks no retry policy."""
_PATIENCE = 3.0  # seconds; a process that was told to end has five


class _End(NamedTuple):
    """How a scatter ends together with its task."""

    state: Literal["failed", "cancelled"]
    message: str


def translated(exc: BaseException, context: Context, owner: Owner, *, stopped: bool, log: Any) -> BaseException:
    """The exception by which Airflow does the right thing; `exc` itself where it needs no other.

    * A drained scatter waits: its task is rescheduled, which takes no slot, no try and no retry.
    * What would end the same in another try fails the task at once.
    * Where no further try comes, the scatter ends in the ledger, too, with the reason.

    Args:
        owner: who coordinated this try.
        stopped: the process was told to end.
    """
    if isinstance(exc, (AirflowRescheduleException, TaskDeferred)):
        return exc
    if isinstance(exc, Drained) and not in_dags_test():
        log.info("%s. Airflow looks every %d seconds whether it may continue", exc, LOOK_AGAIN.total_seconds())
        return AirflowRescheduleException(datetime.now(UTC) + LOOK_AGAIN)  # type: ignore[no-untyped-call]
    for_good = isinstance(exc, (ScatterError, ConfigError)) and not stopped
    end = _by_a_person(context) if stopped else _by_itself(exc, context, for_good=for_good)
    if end is not None:
        _write(end, exc, context, owner, log)
    return AirflowFailException(mask(str(exc))) if for_good else exc


@contextmanager
def written_down(context: Context, owner: Callable[[Context], Owner], log: Any) -> Iterator[None]:
    """Around what Airflow does before it executes the task: an error there ends a try as one of the scatter does."""
    try:
        yield
    except BaseException as exc:
        if is_a_try(context.get("ti")):
            told = translated(exc, context, owner(context), stopped=False, log=log)
            if told is not exc:
                raise told from exc
        raise


def waits_drained(ledger: Ledger, row: ScatterRow, owner: Owner) -> str | None:
    """Why this start of the task is to leave a drained scatter alone; None where it is to continue it.

    A rescheduled task starts again under the number of the try that was drained. A retry or a cleared task has another.
    """
    if ledger.state(row.uid).state != "drained" or ledger.lets_continue(row.uid):
        return None
    return ledger.tries(row.uid)[0].message if was_drained(ledger, row, owner) else None


def was_drained(ledger: Ledger, row: ScatterRow, owner: Owner) -> bool:
    """Whether this is the try that was drained, started again."""
    latest = ledger.tries(row.uid)[:1]
    mine = owner.claim_key, owner.claim_no
    return any(one.ending == "drained" and (one.owner_key, one.claim_no) == mine for one in latest)


def goes_on(context: Context) -> bool:
    """Whether Airflow starts a task again whose process was told to end: by a deploy, an eviction, or as it was cleared
    while it ran; not, if somebody has given it a state that ends it, or if that cannot be learned."""
    state = state_in_airflow(context["ti"])
    return state == "restarting" or (state == "running" and may_retry(context["ti"]))


def _by_itself(exc: BaseException, context: Context, *, for_good: bool) -> _End | None:
    """How it ends if Airflow starts no further try after `exc`."""
    ti = context["ti"]
    if isinstance(exc, AirflowSkipException):
        return _End("cancelled", f"its task was skipped{_because(exc)}")
    if for_good or isinstance(exc, _FINAL):
        return _End("failed", f"{_text(exc, context)}; Airflow does not try again after such an error")
    if may_retry(ti):
        refused = refused_by_policy(ti, exc, context)
        return None if refused is None else _End("failed", f"{_text(exc, context)}; {refused}")
    return _End("failed", f"{_text(exc, context)}; no further try comes (try {ti.try_number} of {ti.max_tries + 1})")


def _by_a_person(context: Context) -> _End | None:
    """How it ends if somebody gave its task another state while it ran: not, where that state starts another try."""
    state = state_in_airflow(context["ti"])
    if state == "failed":
        return _End("failed", "its task was marked as failed in Airflow while it ran")
    if state in ("success", "skipped"):
        return _End("cancelled", f"its task was marked as {state} in Airflow while it ran")
    return None


def _write(end: _End, exc: BaseException, context: Context, owner: Owner, log: Any) -> None:
    from manifold.ledger import open_ledger

    try:
        cookie = Cookie.read(context["task_state_store"])
        with closing(open_ledger(patience=_PATIENCE)) as ledger:
            row = None if owner.claim_key is None else ledger.find(owner.claim_key)
            if cookie is None or row is None or row.uid != cookie.uid:
                return  # no try has come as far as to a scatter
            _note_try(ledger, row, owner, mask(_text(exc, context)))
            ledger.give_up(row.uid, end.state, mask(end.message))
    except (ManifoldError, AirflowException) as trouble:
        log.warning("the ledger could not be told how this try ended: %s", trouble)


def _note_try(ledger: Ledger, row: ScatterRow, owner: Owner, message: str) -> None:
    """Write this try down, if it ended before it could claim the scatter."""
    if any((one.owner_key, one.claim_no) == (owner.claim_key, owner.claim_no) for one in ledger.tries(row.uid)[:1]):
        return
    if row.state == "running":
        try:
            ledger.acquire(row.uid, owner).release(ending="error", message=message)
        except (ScatterBusy, Fenced):
            return


def _text(exc: BaseException, context: Context) -> str:
    if isinstance(exc, AirflowTaskTimeout):
        return f"it ran longer than its execution_timeout, {context['task'].execution_timeout}"
    known = isinstance(exc, (ScatterError, ConfigError, AirflowFailException))
    return str(exc) if known and str(exc) else f"{type(exc).__name__}: {exc}"


def _because(exc: BaseException) -> str:
    return f": {exc}" if str(exc) else ""
