"""What a person reads in the task's log."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import pytest

from manifold.airflow.monitor import TaskLogMonitor
from manifold.events import ChunkCommitted, ChunkLost, Notice, Progress, ScatterEnded, ScatterStarted
from manifold.protocol.records import Failure, LogLine

UID, EPOCH = "u" * 32, 1


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(clock: Clock, caplog: pytest.LogCaptureFixture) -> Iterator[TaskLogMonitor]:
    with caplog.at_level(logging.INFO, "task"):
        yield TaskLogMonitor(logging.getLogger("task"), "begins", clock)


def progress(done: int, total: int | None = 1000) -> Progress:
    return Progress(UID, EPOCH, total=total, n_ok=done, n_failed=0, n_skipped=0, in_flight=4, slots=2)


def committed(*failures: Failure, lines: Sequence[LogLine] = (), traceback: str = "") -> ChunkCommitted:
    told, kinds = list(failures), {"f1": traceback} if traceback else {}
    return ChunkCommitted(UID, EPOCH, 0, 10, "w1:7", 1.0, len(told), failures=told, lines=list(lines), kinds=kinds)


def failure(pos: int) -> Failure:
    return Failure(pos, "f1", "ValueError", "no such thing", attempts=3, key="row-9", item_repr="{'a': 1}")


def started(n_ok: int = 0) -> ScatterStarted:
    return ScatterStarted(UID, EPOCH, "d/r/t", "threads://2", "begins", 1000, n_ok=n_ok)


def test_progress_is_told_every_ten_seconds_with_rate_and_time_left(
    monitor: TaskLogMonitor, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.emit(started(n_ok=100))
    for second in range(1, 31):
        clock.now = 100.0 + second
        monitor.emit(progress(100 + second * 10))
    told = [one for one in caplog.messages if "/s" in one]
    assert told == [
        "200 of 1,000 items (20.0%); 10/s; 1 min 20 s left; 0 failed, 0 skipped; 4 chunks out, 2 slots",
        "300 of 1,000 items (30.0%); 10/s; 1 min 10 s left; 0 failed, 0 skipped; 4 chunks out, 2 slots",
        "400 of 1,000 items (40.0%); 10/s; 1 min 0 s left; 0 failed, 0 skipped; 4 chunks out, 2 slots",
    ]


def test_what_this_try_found_changed_is_a_warning(monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture) -> None:
    monitor.emit(dataclasses.replace(started(), why="begins; the code has changed"))
    assert caplog.messages[1:] == ["the code has changed"]


def test_progress_over_an_unknown_number_of_items_promises_no_end(
    monitor: TaskLogMonitor, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.emit(started())
    clock.now += 10
    monitor.emit(progress(5, total=None))
    assert caplog.messages[-1].startswith("5 items; 0.5/s; 0 failed")


def test_a_failed_item_is_told_with_its_worker_its_error_and_itself(
    monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.emit(committed(failure(1234), traceback="Traceback …"))
    assert caplog.messages == [
        "item 1,234 (row-9) failed on w1:7 after 3 executions: ValueError: no such thing; the item: {'a': 1}",
        "Traceback …",
    ]


def test_of_many_items_that_fail_alike_a_few_are_shown(
    monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.emit(committed(*(failure(pos) for pos in range(1000)), traceback="Traceback …"))
    assert sum("failed on" in one for one in caplog.messages) == 5
    assert caplog.messages.count("Traceback …") == 1
    assert caplog.messages[-1] == "more items fail with this ValueError; the account counts them"


def test_what_items_print_is_told_with_item_and_worker_up_to_a_limit(
    monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.emit(committed(lines=[LogLine(pos, "INFO", "hello") for pos in range(500)]))
    assert caplog.messages[0] == "item 0 on w1:7: hello"
    assert sum("hello" in one for one in caplog.messages) == 200
    assert "keep_logs=True" in caplog.messages[-1]


def test_a_failed_items_own_lines_are_told_beyond_the_limit(
    monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.emit(committed(lines=[LogLine(pos, "INFO", "hello") for pos in range(200)]))
    monitor.emit(committed(failure(7), lines=[LogLine(7, "ERROR", "why it failed")]))
    assert caplog.messages[-1] == "item 7 on w1:7: why it failed"
    assert caplog.records[-1].levelno == logging.ERROR


def test_a_lost_chunk_is_a_warning(monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture) -> None:
    monitor.emit(ChunkLost(UID, EPOCH, 0, 2000, "w1:7", "killed"))
    assert caplog.messages == ["items 0 to 1,999 run again: lost on w1:7 (killed)"]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_notice_keeps_its_level_and_its_percent_signs(
    monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.emit(Notice(UID, EPOCH, "warning", "5% of %s"))
    assert caplog.messages == ["5% of %s"]
    assert caplog.records[0].levelno == logging.WARNING


def test_the_end_tells_the_account(monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture) -> None:
    monitor.emit(ScatterEnded(UID, EPOCH, "failed", 1000, 900, 7, 3, 75.0, "7 items failed"))
    assert caplog.messages == [
        "failed in 1 min 15 s: 900 succeeded, 7 failed, 3 skipped, 90 without outcome, of 1,000: 7 items failed"
    ]
    assert caplog.records[0].levelno == logging.ERROR


@pytest.mark.parametrize(("state", "level"), [("stopped", logging.WARNING), ("drained", logging.INFO)])
def test_a_try_that_the_next_one_continues_ends_in_words_and_without_an_error(
    monitor: TaskLogMonitor, caplog: pytest.LogCaptureFixture, state: str, level: int
) -> None:
    caplog.set_level(logging.INFO)
    monitor.emit(ScatterEnded(UID, EPOCH, state, 1000, 900, 0, 0, 18.0, "by a signal to its process"))
    assert caplog.messages == [
        f"{state} after 18.0 s: 900 succeeded, 0 failed, 0 skipped, 100 without outcome, of 1,000: "
        "by a signal to its process"
    ]
    assert caplog.records[0].levelno == level
