"""The only place that imports what Airflow calls private. A new Airflow release is checked here first.

Written for Airflow 3.3 and 3.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any

from airflow.sdk.bases.decorator import get_unique_task_id
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.sdk.definitions._internal.mixins import ResolveMixin
from airflow.sdk.definitions.retry_policy import RetryAction, RetryDecision, RetryPolicy

__all__ = [
    "ResolveMixin",
    "allow_in_xcom",
    "around_pre_execute",
    "building_a_dag",
    "bundle_root",
    "get_unique_task_id",
    "in_dags_test",
    "is_a_try",
    "known_secrets",
    "may_retry",
    "note_known_secrets",
    "redacted",
    "refused_by_policy",
    "state_in_airflow",
]

_known_before: set[str] = set()


def building_a_dag() -> bool:
    """A `with DAG(...)` block or a `@dag` function is open in this thread."""
    return DagContext.get_current() is not None


def in_dags_test() -> bool:
    """This task runs inside `airflow dags test`, in one process and without a scheduler."""
    from airflow.sdk.execution_time import task_runner

    return type(getattr(task_runner, "SUPERVISOR_COMMS", None)).__name__ == "InProcessSupervisorComms"


def may_retry(task_instance: Any) -> bool:
    """Airflow starts the task once more if this try fails, as its server said when the try began."""
    said = getattr(getattr(task_instance, "_ti_context_from_server", None), "should_retry", None)
    return bool(task_instance.try_number <= task_instance.max_tries) if said is None else bool(said)


def is_a_try(task_instance: Any) -> bool:
    """Airflow's server has started this try; nobody only looks at the task, as `airflow tasks render` does."""
    return getattr(task_instance, "_ti_context_from_server", None) is not None


def around_pre_execute(task: Any, around: Callable[[], AbstractContextManager[None]]) -> None:
    """Have the task's `pre_execute` hook, if it has one, run within `around()`."""
    hook = task._pre_execute_hook
    if hook is None:
        return

    @wraps(hook)
    def wrapped(context: Any) -> Any:
        with around():
            return hook(context)

    task._pre_execute_hook = wrapped


class _Asked(RetryPolicy):
    """A task's retry policy, which is asked about each exception once: it may count, or cost something."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._answer: tuple[BaseException, RetryDecision] | None = None

    def evaluate(self, exception: BaseException, *args: Any, **options: Any) -> RetryDecision:
        if self._answer is None or self._answer[0] is not exception:
            self._answer = exception, self._policy.evaluate(exception, *args, **options)
        return self._answer[1]


def refused_by_policy(task_instance: Any, exc: BaseException, context: Any) -> str | None:
    """Return why the task's `retry_policy` lets no further try follow on `exc`; None where there is none, or it does.

    Airflow, which asks it after us, gets the same answer.
    """
    task = task_instance.task
    policy = getattr(task, "retry_policy", None)
    if policy is None:
        return None
    if not isinstance(policy, _Asked):
        task.retry_policy = policy = _Asked(policy)
    said = getattr(task_instance, "_ti_context_from_server", None)
    tries = {"try_number": task_instance.try_number, "max_tries": said.max_tries if said else 0}
    try:
        decision = policy.evaluate(exc, **tries, context=context)
    except Exception:  # noqa: BLE001 - an author's code; Airflow asks again, tells it, and goes by its own rules
        return None
    if decision.action is not RetryAction.FAIL:
        return None
    return f"its retry_policy lets no further try follow{f': {decision.reason}' if decision.reason else ''}"


def state_in_airflow(task_instance: Any) -> str | None:
    """The state that Airflow has of a task that runs here: another than running where somebody changed it meanwhile."""
    index = -1 if task_instance.map_index is None else task_instance.map_index
    try:
        states = task_instance.get_task_states(
            dag_id=task_instance.dag_id,
            task_ids=[task_instance.task_id],
            run_ids=[task_instance.run_id],
            map_index=index if index >= 0 else None,
        )
    except Exception:  # noqa: BLE001 - Airflow's API may be away, or refuse a task that it has given up
        return None
    found = states.get(task_instance.run_id) or {}
    name = task_instance.task_id if index < 0 else f"{task_instance.task_id}_{index}"
    return found.get(name)


def bundle_root(task_instance: Any) -> Path | None:
    """The folder of the DAG bundle that a running task came from; None in `airflow dags test`, which has none."""
    bundle = getattr(task_instance, "bundle_instance", None)
    return None if bundle is None else Path(bundle.path)


def redacted(text: str) -> str:
    """`text` without what Airflow's masker knows of in this process."""
    from airflow.sdk._shared.secrets_masker import redact

    return str(redact(text))


def note_known_secrets() -> None:
    """Leave out of `known_secrets` what Airflow's masker knows by now: its configuration, and other tasks' secrets."""
    _known_before.update(_masked_by_airflow())


def known_secrets() -> list[str]:
    """What this task has made known to Airflow's masker: the connections and variables that it has read."""
    # The masker keeps regular expressions, made by `re.escape`.
    new = _masked_by_airflow() - _known_before
    return [re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL) for pattern in new]


def _masked_by_airflow() -> set[str]:
    from airflow.sdk._shared.secrets_masker import _secrets_masker

    return set(_secrets_masker().patterns)


def allow_in_xcom(cls: type, *old_names: str) -> None:
    """Let this process read `cls` from XCom, also under its old names, without a change of Airflow's configuration."""
    from airflow.sdk.serde import _extra_allowed, allow_class

    allow_class(cls)
    _extra_allowed.update(old_names)
