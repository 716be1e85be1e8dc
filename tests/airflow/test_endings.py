"""A task that ended for good, or that was drained: what Airflow shows, and what the ledger says of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import (
    DAG,
    ExceptionRetryPolicy,
    RetryAction,
    RetryDecision,
    RetryPolicy,
    RetryRule,
    get_current_context,
)
from airflow.sdk.definitions import dag as loop
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from manifold import control_requests
from manifold.airflow import ending
from manifold.airflow.decorator import scatter
from manifold.airflow.operator import ScatterOperator
from manifold.ledger import Ledger, open_ledger
from manifold.protocol.records import ScatterRow

from .runs import Run, run

pytestmark = [pytest.mark.usefixtures("airflow_db"), pytest.mark.filterwarnings("default")]


def a_dag(name: str, **options: Any) -> DAG:
    return DAG(name, schedule=None, default_args={"engine": "threads://2", "retry_delay": timedelta(0)} | options)


@pytest.fixture
def ledger(airflow_db: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{airflow_db}/manifold/ledger.db")
    yield opened
    opened.close()


def only(ledger: Ledger, dag_id: str) -> ScatterRow:
    (row,) = ledger.scatters(name_like=f"{dag_id}/")
    return row


@scatter(chunk_size=10)
def double(n: int) -> int:
    return 2 * n


class Then:
    """Items 0 to 99, in the middle of which something happens."""

    def __init__(self, happens: Any) -> None:
        self.happens = happens

    def __iter__(self) -> Iterator[int]:
        yield from range(50)
        self.happens()
        yield from range(50, 100)


def breaks() -> None:
    raise OSError("the disk is gone")


def test_an_error_in_every_try_ends_the_scatter_with_the_reason_of_the_last(ledger: Ledger) -> None:
    with a_dag("hopeless", retries=1) as dag:
        double.over(n=Then(breaks))
    assert run(dag).state("double") == "failed"
    row = only(ledger, "hopeless")
    assert row.state == "failed"
    assert row.message == "OSError: the disk is gone; no further try comes (try 2 of 2)"
    second, first = ledger.tries(row.uid)
    assert [(one.claim_no, one.claims, one.ending) for one in (first, second)] == [(1, 2, "error"), (2, 2, "error")]
    assert first.message == second.message == "OSError: the disk is gone"
    assert second.mode == "continue"
    assert second.why.startswith("continues: ")


def test_an_error_before_another_try_leaves_the_scatter_to_it(ledger: Ledger) -> None:
    seen: list[str] = []

    def breaks_once() -> None:
        row = only(ledger, "once")
        seen.append(ledger.state(row.uid).state)
        if len(seen) == 1:
            breaks()

    with a_dag("once") as dag:
        double.over(n=Then(breaks_once))
    assert run(dag).state("double") == "success"
    row = only(ledger, "once")
    assert [one.ending for one in ledger.tries(row.uid)] == ["succeeded", "error"]


def test_a_set_up_that_fails_in_later_tries_is_written_down_as_tries_and_ends_the_scatter(ledger: Ledger) -> None:
    with a_dag("engine", retries=1) as dag:
        double.over(n=Then(breaks))
    opened: list[int] = []

    def refuses(*args: Any, **options: Any) -> Any:
        opened.append(1)
        if len(opened) > 1:
            raise OSError("no broker")
        return real(*args, **options)

    from manifold.engines import open as opening

    real = opening.open_engine
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_engine", refuses)
        assert run(dag).state("double") == "failed"
    row = only(ledger, "engine")
    assert (row.state, row.message) == ("failed", "OSError: no broker; no further try comes (try 2 of 2)")
    told = [(one.claim_no, one.ending, one.message) for one in ledger.tries(row.uid)]
    assert told == [(2, "error", "OSError: no broker"), (1, "error", "OSError: the disk is gone")]


def test_a_task_that_ran_longer_than_its_execution_timeout_says_so(ledger: Ledger) -> None:
    with a_dag("slow", retries=0, execution_timeout=timedelta(seconds=3)) as dag:
        double.over(n=Then(lambda: time.sleep(60)))
    assert run(dag).state("double") == "failed"
    row = only(ledger, "slow")
    assert row.state == "failed"
    assert (row.message or "").startswith("it ran longer than its execution_timeout, 0:00:03; no further try comes")


def test_a_task_that_is_skipped_cancels_its_scatter(ledger: Ledger) -> None:
    def skips() -> None:
        raise AirflowSkipException("nothing new")

    with a_dag("skips") as dag:
        double.over(n=Then(skips))
    assert run(dag).state("double") == "skipped"
    row = only(ledger, "skips")
    assert (row.state, row.message) == ("cancelled", "its task was skipped: nothing new")


class Rules(RetryPolicy):
    """Lets no try follow on an OSError, and counts how often it is asked."""

    asked = 0

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        type(self).asked += 1
        assert (try_number, max_tries) == (1, 2)
        return RetryDecision.fail("a disk does not come back") if isinstance(exception, OSError) else RetryDecision()

    def serialize(self) -> dict[str, Any]:
        return {}


def test_a_retry_policy_that_lets_no_try_follow_ends_the_scatter_with_its_reason(ledger: Ledger) -> None:
    Rules.asked = 0
    with a_dag("policy", retries=2) as dag:
        double.override(retry_policy=Rules()).over(n=Then(breaks))
    assert run(dag).state("double") == "failed"
    row = only(ledger, "policy")
    said = "its retry_policy lets no further try follow: a disk does not come back"
    assert (row.state, row.message) == ("failed", f"OSError: the disk is gone; {said}")
    assert [(one.claim_no, one.ending, one.message) for one in ledger.tries(row.uid)] == [
        (1, "error", "OSError: the disk is gone")
    ]
    assert Rules.asked == 1


def test_a_retry_policy_that_fails_itself_or_lets_a_try_follow_leaves_the_scatter_to_it(ledger: Ledger) -> None:
    class Broken(Rules):
        def evaluate(self, *args: Any, **options: Any) -> RetryDecision:
            raise ValueError("no rules")

    for name, policy in (
        ("broken", Broken()),
        ("other", ExceptionRetryPolicy(rules=[RetryRule(exception=KeyError, action=RetryAction.FAIL)])),
    ):
        seen: list[str] = []

        def breaks_once(name: str = name, seen: list[str] = seen) -> None:
            seen.append(name)
            if len(seen) == 1:
                breaks()

        with a_dag(f"policy_{name}", retries=1) as dag:
            double.override(retry_policy=policy).over(n=Then(breaks_once))
        assert run(dag).state("double") == "success"
        row = only(ledger, f"policy_{name}")
        assert [one.ending for one in ledger.tries(row.uid)] == ["succeeded", "error"]


@pytest.mark.parametrize("kind", [AirflowFailException, AirflowSensorTimeout])
def test_an_error_after_which_airflow_tries_no_more_ends_the_scatter(ledger: Ledger, kind: type[Exception]) -> None:
    def gives_up() -> None:
        raise kind("nothing helps")

    with a_dag(kind.__name__, retries=2) as dag:
        double.over(n=Then(gives_up))
    assert run(dag).state("double") == "failed"
    row = only(ledger, kind.__name__)
    assert row.state == "failed"
    assert (row.message or "").endswith("nothing helps; Airflow does not try again after such an error")
    assert "nothing helps" in (ledger.tries(row.uid)[0].message or "")


@scatter(chunk_size=10)
def times(n: int, by: str) -> int:
    return n * int(by)


@pytest.mark.parametrize("how", ["template", "hook"])
def test_a_last_try_that_fails_before_it_is_executed_is_written_down_and_ends_the_scatter(
    ledger: Ledger, how: str
) -> None:
    def hook(context: Any) -> None:
        if context["ti"].try_number == 2:
            raise ZeroDivisionError("division by zero")

    with a_dag(f"before_{how}", retries=1) as dag:
        if how == "hook":
            times.override(pre_execute=hook).partial(by="2").over(n=Then(breaks))
        else:
            times.partial(by="{{ 2 // (2 - ti.try_number) }}").over(n=Then(breaks))
    assert run(dag).state("times") == "failed"
    row = only(ledger, f"before_{how}")
    assert row.state == "failed"
    assert (row.message or "").startswith("ZeroDivisionError: ")
    assert (row.message or "").endswith("no further try comes (try 2 of 2)")
    second, first = ledger.tries(row.uid)
    assert (second.claim_no, second.ending, (second.message or "")[:18]) == (2, "error", "ZeroDivisionError:")
    assert (first.claim_no, first.message) == (1, "OSError: the disk is gone")


def test_somebody_who_only_looks_at_the_rendered_fields_ends_nothing(ledger: Ledger) -> None:
    with a_dag("looks", retries=1) as dag:
        times.partial(by="{{ 2 // (2 - ti.try_number) }}").over(n=Then(breaks))

    class Looked:
        try_number, max_tries, dag_id, run_id, task_id, map_index = 2, 1, "looks", "r", "times", -1

    with pytest.raises(ZeroDivisionError):
        dag.task_dict["times"].render_template_fields({"ti": Looked()})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("marked", "state"), [("failed", "failed"), ("success", "cancelled"), ("running", "running"), (None, "running")]
)
def test_a_task_that_is_given_another_state_while_it_runs_ends_its_scatter(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, marked: str | None, state: str
) -> None:
    monkeypatch.setattr(ending, "state_in_airflow", lambda _ti: marked)

    def is_killed() -> None:
        running = get_current_context()["task"]
        assert isinstance(running, ScatterOperator)
        running.on_kill()

    name = f"marked_{marked}"
    with a_dag(name, retries=0) as dag:
        double.over(n=Then(is_killed))
    run(dag)
    row = only(ledger, name)
    assert row.state == state
    assert row.message == (None if state == "running" else f"its task was marked as {marked} in Airflow while it ran")
    assert ledger.tries(row.uid)[0].ending == "stopped"
    assert ledger.state(row.uid).state == ("stopped" if state == "running" else state)


class Drains(Then):
    """In its middle, somebody drains the scatter, and it is seen to before the rest is sent."""

    def __init__(self, ledger: Ledger, dag_id: str) -> None:
        def drain() -> None:
            row = only(ledger, dag_id)
            if row.epoch == 1:
                ledger.control(row.uid, "drain", {}, "ann")
                time.sleep(1.5)  # controls are looked at once a second

        super().__init__(drain)


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a scheduler, which starts a task again that was rescheduled."""
    monkeypatch.setattr(ending, "in_dags_test", lambda: False)
    monkeypatch.setattr(ending, "LOOK_AGAIN", timedelta(hours=1))


class Waits(Exception):
    """The loop of `airflow dags test` has nothing to run, and would wait."""


def drained(ledger: Ledger, dag_id: str) -> tuple[Run, ScatterRow]:
    with a_dag(dag_id, max_concurrency=1) as dag:
        double.override(chunk_size=1).over(n=Drains(ledger, dag_id))

    slept = time.sleep

    def wait(seconds: float) -> None:
        if sys._getframe(1).f_globals["__name__"] == loop.__name__:
            raise Waits
        slept(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", wait)
        with pytest.raises(Waits):
            run(dag)
    with create_session() as session:
        dagrun = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id)).one()
    return Run(dag, dagrun), only(ledger, dag_id)


def starts_again(done: Run) -> str:
    """What the scheduler does with a rescheduled task when its time has come; the state afterwards."""
    with create_session() as session:
        ti = session.merge(done.task("double"))
        ti.state = TaskInstanceState.SCHEDULED
    loop._run_task(ti=done.task("double"), task=done.dag.task_dict["double"])
    return done.state("double")


@pytest.mark.usefixtures("deployed")
def test_a_drained_task_waits_without_a_slot_a_try_or_a_failure_until_somebody_lets_it_continue(
    ledger: Ledger,
) -> None:
    done, row = drained(ledger, "drained")
    assert done.state("double") == "up_for_reschedule"
    assert ledger.state(row.uid).state == "drained"
    assert 0 < row.done < 100
    (only_try,) = ledger.tries(row.uid)
    assert (only_try.ending, "drained by ann" in (only_try.message or "")) == ("drained", True)
    assert starts_again(done) == "up_for_reschedule"
    assert ledger.scatter(row.uid) == row, "a start that finds it drained leaves the ledger alone"
    ledger.control(row.uid, "resume", {}, "ann")
    assert starts_again(done) == "success"
    assert done.task("double").try_number == 1
    assert list(done.output("double")) == [2 * n for n in range(100)]
    assert [one.ending for one in ledger.tries(row.uid)] == ["succeeded", "drained"]


@pytest.mark.usefixtures("deployed")
def test_a_drained_task_whose_scatter_is_cancelled_fails_and_runs_nothing_until_it_is_cleared(ledger: Ledger) -> None:
    done, row = drained(ledger, "given_up")
    assert control_requests.ask(ledger, row, "cancel", {}, "ann").done
    assert starts_again(done) == "failed"
    left = ledger.scatter(row.uid)
    assert (left.state, left.done) == ("cancelled", row.done)
    assert "cancelled by ann" in (left.message or "")
    done.clear("double")
    assert done.state("double") == "success"
    assert list(done.output("double")) == [2 * n for n in range(100)]
    assert only(ledger, "given_up").uid == row.uid


@pytest.mark.usefixtures("deployed")
def test_a_drained_task_that_is_cleared_continues_at_once(ledger: Ledger) -> None:
    done, row = drained(ledger, "cleared")
    assert done.state("double") == "up_for_reschedule"
    done.clear("double")
    assert done.state("double") == "success"
    assert only(ledger, "cleared").uid == row.uid


def test_in_dags_test_a_drained_task_fails_with_the_reason(ledger: Ledger) -> None:
    with a_dag("tested", max_concurrency=1) as dag:
        double.override(chunk_size=1).over(n=Drains(ledger, "tested"))
    assert run(dag).state("double") == "failed"
    row = only(ledger, "tested")
    assert ledger.tries(row.uid)[0].ending == "drained"
