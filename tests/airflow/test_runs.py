"""Scatters inside Airflow: what each try does, and what the author's exceptions mean."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, Param, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from manifold import RetryItem, SkipItem, per_worker
from manifold.airflow.decorator import scatter
from manifold.airflow.operator import ScatterOperator
from manifold.errors import ScatterError
from manifold.ledger import Ledger, open_ledger
from manifold.results.results import Results

from .runs import Run, run

pytestmark = [
    pytest.mark.usefixtures("airflow_db"),
    # The loop of `dags test` starts an api-server in this process, whose packages warn about one another.
    pytest.mark.filterwarnings("default"),
]


def a_dag(name: str, **options: Any) -> DAG:
    return DAG(name, schedule=None, default_args={"engine": "threads://2", "retry_delay": timedelta(0)} | options)


@pytest.fixture
def ledger(airflow_db: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{airflow_db}/manifold/ledger.db")
    yield opened
    opened.close()


@scatter
def double(n: int) -> int:
    return 2 * n


class Breaks:
    """Items 0 to 99, which end in an error after `good` of them as often as `times` says."""

    def __init__(self, times: int, good: int = 50) -> None:
        self.times = times
        self.good = good

    def __iter__(self) -> Iterator[int]:
        yield from range(self.good)
        self.times -= 1
        if self.times >= 0:
            raise OSError("the disk is gone")
        yield from range(self.good, 100)


class Notes:
    """Which items ran, noted in a file: what a function closes over is a copy on a worker."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, n: int) -> None:
        with self.path.open("a") as file:
            file.write(f"{n}\n")

    def all(self) -> list[int]:
        return sorted(map(int, self.path.read_text().split()))


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


def tries(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What each try said first."""
    out = capsys.readouterr().out
    return [line.partition("Try ")[2].partition(" Scatter ")[0] for line in out.splitlines() if "Try " in line]


def ended(n: int) -> int | None:
    """How a child ends that this item forks and terminates, as a pool of processes does with its workers."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(20)
    child.kill()
    return child.exitcode


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_children_of_items_in_the_tasks_own_process_can_be_terminated_although_airflow_ignores_it_there() -> None:
    with a_dag("children") as dag:
        scatter(ended).over(n=range(3))
    assert list(run(dag).output("ended")) == [-signal.SIGTERM] * 3


# -- results ---------------------------------------------------------------------------------------------------------


def test_a_downstream_task_gets_the_results_in_order() -> None:
    seen: list[Any] = []

    @task
    def report(results: Any) -> None:
        seen.extend(results)

    with a_dag("order") as dag:
        report(double.over(n=range(100)))
    assert run(dag).state("report") == "success"
    assert seen == [2 * n for n in range(100)]


def test_xcom_holds_a_small_readable_handle_and_no_results() -> None:
    with a_dag("handle") as dag:
        double.over(n=range(5000))
    done = run(dag)
    with create_session() as session:
        raw = session.scalar(select(XComModel.value).where(XComModel.dag_id == "handle"))
    assert len(str(raw)) < 600
    assert "'total': 5000" in str(raw).replace('"', "'")
    assert isinstance(done.output("double"), Results)


def test_a_task_may_hand_on_a_part_of_the_results() -> None:
    @task
    def first_two(results: Any) -> Any:
        return results[:2]

    @task
    def look(part: Any) -> None:
        assert list(part) == [0, 2]

    with a_dag("part") as dag:
        look(first_two(double.over(n=range(5))))
    assert run(dag).state("look") == "success"


def test_a_scatter_over_the_results_of_another() -> None:
    with a_dag("chain") as dag:
        double.over(n=double.over(n=range(10)))
    assert list(run(dag).output("double__1")) == [4 * n for n in range(10)]


def test_items_come_from_another_task() -> None:
    @task
    def numbers() -> list[int]:
        return [3, 1, 2]

    with a_dag("xcom") as dag:
        double.over(n=numbers())
    assert list(run(dag).output("double")) == [6, 2, 4]


def test_braces_in_items_are_data() -> None:
    @scatter
    def same(text: str) -> str:
        return text

    words = ["{{ 1 + 1 }}", "{% bad", "{# no comment", "plain"]
    with a_dag("braces") as dag:
        same.over(text=words)
    assert list(run(dag).output("same")) == words


def test_constants_are_rendered_and_made_per_worker() -> None:
    def table() -> dict[int, str]:
        return {1: "one", 2: "two"}

    @scatter
    def named(n: int, names: dict[int, str], suffix: str) -> str:
        return names[n] + suffix

    with a_dag("constants") as dag:
        named.partial(names=per_worker(table), suffix="{{ params.suffix }}").over(n=[1, 2])
    dag.params["suffix"] = Param("!")
    assert list(run(dag, {"suffix": "?"}).output("named")) == ["one?", "two?"]


def test_two_inputs_are_walked_in_step() -> None:
    @scatter
    def add(a: int, b: int) -> int:
        return a + b

    with a_dag("step") as dag:
        add.over(a=range(5), b=[10, 20, 30, 40, 50])
    assert list(run(dag).output("add")) == [10, 21, 32, 43, 54]


def test_inputs_that_turn_out_unequal_fail_without_a_retry() -> None:
    @task
    def short() -> list[int]:
        return [1, 2]

    @scatter
    def add(a: int, b: int) -> int:
        return a + b

    with a_dag("unequal") as dag:
        add.over(a=range(5), b=short())
    done = run(dag)
    assert done.state("add") == "failed"
    assert done.task("add").try_number == 1


def test_empty_input_succeeds_with_no_items() -> None:
    with a_dag("empty") as dag:
        double.over(n=[])
    assert len(run(dag).output("double")) == 0


def test_the_engine_is_chosen_in_the_trigger_form() -> None:
    with a_dag("form") as dag:
        double.override(engine="{{ params.engine }}").over(n=lambda context: range(context["params"]["items"]))
    dag.params["engine"] = Param("nowhere://", type="string")
    dag.params["items"] = Param(1, type="integer")
    assert list(run(dag, {"engine": "threads://1", "items": 4}).output("double")) == [0, 2, 4, 6]


def test_a_mapped_task_group_runs_a_scatter_for_each_group() -> None:
    @task_group
    def each(group: list[int]) -> None:
        double.over(n=group)

    with a_dag("groups") as dag:
        each.expand(group=[[1, 2], [3]])
    done = run(dag)
    assert list(done.output("each.double", 0)) == [2, 4]
    assert list(done.output("each.double", 1)) == [6]


def test_a_mapped_task_group_runs_the_same_scatter_on_each_engine() -> None:
    @task
    def engines() -> list[str]:
        return ["threads://1", "processes://1"]

    @task_group
    def each(engine: str) -> None:
        double.override(engine=engine).over(n=[1, 2])

    with a_dag("engines") as dag:
        each.expand(engine=engines())
    done = run(dag)
    assert [list(done.output("each.double", index)) for index in (0, 1)] == [[2, 4], [2, 4]]
    ledger = open_ledger()
    used = [ledger.scatter(done.output("each.double", index).uid).engine for index in (0, 1)]
    assert used == ["threads://1", "processes://1"]


def test_an_engine_that_another_task_names_wrongly_is_told_with_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    @task
    def engine() -> list[int]:
        return [1]

    with a_dag("wrong") as dag:
        double.override(engine=engine()).over(n=[1])
    assert run(dag).state("double") == "failed"
    assert "[1] is neither a URL" in capsys.readouterr().out


def test_dags_test_needs_no_configuration_whatever_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with a_dag("trial") as dag:
        double.over(n=range(3))
    assert run(dag).state("double") == "success"


# -- what the author raises ------------------------------------------------------------------------------------------


def test_skipped_items_are_counted_and_left_out() -> None:
    @scatter
    def picky(n: int) -> int:
        if n % 3 == 1:
            raise SkipItem("ours")
        if n % 3 == 2:
            raise AirflowSkipException("Airflow's")
        return n

    with a_dag("skip") as dag:
        picky.over(n=range(9))
    results = run(dag).output("picky")
    assert list(results) == [0, 3, 6]
    assert results.n_skipped == 6


def test_airflows_fail_exception_fails_an_item_without_a_retry(tmp_path: Path) -> None:
    @scatter(item_retries=3, tolerate=2)
    def fails(n: int) -> None:
        with (tmp_path / str(n)).open("a") as file:
            file.write("x")
        if n == 1:
            raise AirflowFailException("never again")
        raise RetryItem("once more", after=0)

    with a_dag("fail") as dag:
        fails.over(n=range(1, 3))
    assert run(dag).output("fails").n_failed == 2
    assert [(tmp_path / str(n)).read_text() for n in (1, 2)] == ["x", "xxxx"]


def test_too_many_failures_fail_the_task_without_a_retry(capsys: pytest.CaptureFixture[str]) -> None:
    @scatter(tolerate=1)
    def fails(n: int) -> int:
        return 1 // n

    with a_dag("budget") as dag:
        fails.over(n=[0, 0, 0, 1])
    done = run(dag)
    assert done.state("fails") == "failed"
    assert done.task("fails").try_number == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_store_in_memory_is_refused() -> None:
    with a_dag("memory") as dag:
        double.override(store="{{ 'memory://' }}").over(n=range(3))
    assert run(dag).state("double") == "failed"


# -- tries -----------------------------------------------------------------------------------------------------------


def test_a_handle_of_a_task_that_was_marked_as_success_in_the_middle_tells_so() -> None:
    told: list[str] = []
    committed: list[int] = []

    @task(retries=0)
    def report(results: Any) -> None:
        for use in (len, list, bool, lambda them: them[0], lambda them: them[:2], lambda them: [*them.pairs()]):
            with pytest.raises(ScatterError) as caught:
                use(results)
            told.append(str(caught.value))
        committed.extend(results.latest())

    with a_dag("marked") as dag:
        report(double.override(chunk_size=10, retries=0).over(n=Breaks(times=1, good=90)))
    done = run(dag)
    assert done.state("double") == "failed"
    with create_session() as session:  # as "Mark as success" does
        marked = done.dagrun.get_task_instance("double", session=session)
        assert marked is not None
        marked.state = TaskInstanceState.SUCCESS
        session.merge(marked)
    told.clear()
    committed.clear()
    done.again("report")
    assert done.state("report") == "success"
    assert all("marked as success" in text and "of scatter marked/" in text for text in told)
    assert len(told) == 6
    assert committed
    assert committed == [2 * n for n in range(len(committed))]


def test_a_retry_after_a_crash_continues_with_what_is_missing(
    capsys: pytest.CaptureFixture[str],
    notes: Notes,
) -> None:
    @scatter(chunk_size=10)
    def note(n: int) -> int:
        notes.add(n)
        return n

    with a_dag("crash") as dag:
        note.over(n=Breaks(times=1, good=90))
    done = run(dag)
    assert done.state("note") == "success"
    assert done.task("note").try_number == 2
    assert list(done.output("note")) == list(range(100))
    first, second = tries(capsys)
    assert first.startswith("1 of 3 begins")
    assert second.startswith("2 of 3 continues")
    assert notes.all().count(0) == 1, "what was committed in the first try ran again"


def test_a_crash_between_the_last_item_and_success_returns_the_existing_results(
    capsys: pytest.CaptureFixture[str],
    notes: Notes,
) -> None:
    crashes = [OSError("the host is gone")]

    def crash(context: Any, result: Any) -> None:
        if crashes:
            raise crashes.pop()

    @scatter
    def note(n: int) -> int:
        notes.add(n)
        return n

    with a_dag("late") as dag:
        note.override(post_execute=crash).over(n=range(20))
    done = run(dag)
    assert done.state("note") == "success"
    assert notes.all() == list(range(20))
    assert tries(capsys)[1].startswith("2 of 3 returns the existing results: all 20 items")
    assert list(done.output("note")) == list(range(20))


def test_clearing_a_task_whose_account_is_closed_starts_from_scratch(
    capsys: pytest.CaptureFixture[str],
    notes: Notes,
) -> None:
    @scatter
    def note(n: int) -> int:
        notes.add(n)
        return n

    with a_dag("cleared") as dag:
        note.over(n=range(5))
    done = run(dag)
    before = done.output("note").uid
    done.clear("note")
    assert done.state("note") == "success"
    assert notes.all() == sorted([*range(5), *range(5)])
    assert done.output("note").uid != before
    assert "starts from scratch: all 5 items were accounted for, then the task was cleared" in tries(capsys)[1]


def test_clearing_a_task_that_failed_continues_and_runs_the_failed_items_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    @scatter(chunk_size=1)
    def needs(n: int) -> int:
        if n == 3 and not (tmp_path / "fixed").exists():
            raise ValueError("not fixed yet")
        return n

    with a_dag("fixed") as dag:
        needs.over(n=range(6))
    done = run(dag)
    assert done.state("needs") == "failed"
    (tmp_path / "fixed").touch()
    done.clear("needs")
    assert done.state("needs") == "success"
    assert list(done.output("needs")) == list(range(6))
    assert "continues" in tries(capsys)[1]


def test_resume_always_runs_only_failed_items_when_a_closed_task_is_cleared(
    capsys: pytest.CaptureFixture[str], notes: Notes, tmp_path: Path
) -> None:
    @scatter(tolerate=1, resume="always")
    def needs(n: int) -> int:
        notes.add(n)
        if n == 3 and not (tmp_path / "fixed").exists():
            raise ValueError("not fixed yet")
        return n

    with a_dag("always") as dag:
        needs.over(n=range(6))
    done = run(dag)
    assert len(done.output("needs")) == 5
    (tmp_path / "fixed").touch()
    done.clear("needs")
    assert list(done.output("needs")) == list(range(6))
    assert notes.all() == [0, 1, 2, 3, 3, 4, 5]
    assert "runs the failed item again" in tries(capsys)[1]


@pytest.mark.parametrize(
    "options", [{"resume": "never"}, {"on_code_changed": "fresh"}, {"on_code_changed": "fail"}], ids=str
)
def test_failed_items_that_somebody_asked_for_run_alone_whatever_the_options_say(
    options: dict[str, Any], ledger: Ledger, notes: Notes
) -> None:
    table: dict[str, int | None] = {"broken": 3}

    @scatter(tolerate=1, **options)
    def needs(n: int) -> int:
        notes.add(n)
        if n == table["broken"]:
            raise ValueError("not yet")
        return n

    with a_dag("asked") as dag:
        needs.over(n=range(6))
    done = run(dag)
    before = done.output("needs")
    assert len(before) == 5
    ledger.control(before.uid, "redrive", {}, "ann")
    table["broken"] = None  # which changes the code
    done.clear("needs")
    assert done.output("needs").uid == before.uid
    assert list(done.output("needs")) == list(range(6))
    assert notes.all() == [0, 1, 2, 3, 3, 4, 5]


def test_resume_never_starts_from_scratch_after_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    with a_dag("never") as dag:
        double.override(resume="never", chunk_size=10).over(n=Breaks(times=1))
    assert run(dag).state("double") == "success"
    assert 'resume="never"' in tries(capsys)[1]


def test_a_dag_run_deleted_and_made_again_inherits_nothing(
    capsys: pytest.CaptureFixture[str],
    notes: Notes,
) -> None:
    @scatter
    def note(n: int) -> int:
        notes.add(n)
        return n

    with a_dag("deleted") as dag:
        note.over(n=range(5))
    moment = datetime(2026, 1, 2, 3, tzinfo=UTC)
    first = run(dag, at=moment)
    before = first.output("note").uid
    with create_session() as session:
        session.delete(session.merge(first.dagrun))
    second = run(dag, at=moment)
    assert second.dagrun.run_id == first.dagrun.run_id
    assert second.output("note").uid != before
    assert notes.all() == sorted([*range(5), *range(5)])
    assert all("has not scattered anything in this DAG run" in one for one in tries(capsys))


class Kills(Breaks):
    """In the middle of the first try, its process is told to end."""

    def __iter__(self) -> Iterator[int]:
        yield from range(self.good)
        self.times -= 1
        if self.times >= 0:
            running = get_current_context()["task"]
            assert isinstance(running, ScatterOperator)
            running.on_kill()
        yield from range(self.good, 100)


def test_on_kill_stops_the_scatter_and_a_retry_continues_it(capsys: pytest.CaptureFixture[str]) -> None:
    with a_dag("killed") as dag:
        double.override(chunk_size=10).over(n=Kills(times=1))
    done = run(dag)
    assert done.state("double") == "success"
    assert done.task("double").try_number == 2
    assert list(done.output("double")) == [2 * n for n in range(100)]
    assert "continues" in tries(capsys)[1]


def test_the_ledger_names_the_task_and_proves_the_account(ledger: Ledger) -> None:
    with a_dag("account") as dag:
        double.over(n=range(100))
    done: Run = run(dag)
    row = ledger.scatter(done.output("double").uid)
    assert row.name.startswith("account/manual__")
    assert row.name.endswith("/double/-1")
    assert (row.state, row.total, row.n_ok) == ("succeeded", 100, 100)
    assert os.environ["MANIFOLD_HOME"].endswith("manifold")
