"""Celery's own messages pass the guard; others do not reach what they would break."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from celery import Celery
from celery.worker.consumer import Consumer

from manifold.engines.celery import messages as ms
from manifold.engines.celery.consumer import GuardedConsumer, _Fields, guard, rarely


@pytest.fixture(params=["as_task_v1", "as_task_v2"])
def fields(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What stands in a message of Celery's that uses every option, by the old protocol and by the new one."""
    app = Celery("sender", broker="memory://", set_as_current=False)
    options = {"group_id": "g", "retries": 2, "time_limit": 3, "soft_time_limit": 2.5, "root_id": "r", "parent_id": "p"}
    more = {"shadow": "s", "origin": "o"} if request.param == "as_task_v2" else {}
    when = datetime(2026, 11, 25, tzinfo=UTC)
    task = getattr(app.amqp, request.param)("id", "a.task", (1,), {"k": 2}, eta=when, expires=when, **options, **more)
    return dict(task.headers if "task" in task.headers else task.body)


def test_what_celery_sends_passes(fields: dict[str, Any]) -> None:
    msgspec.convert(fields, _Fields)


def test_a_call_of_ours_passes() -> None:
    app = Celery("sender", broker="memory://", set_as_current=False)
    task = app.amqp.create_task_message("id", ms.TASK, ("sealed",), {}, reply_to="r", ignore_result=True)
    msgspec.convert(task.headers, _Fields)


@pytest.mark.parametrize(
    "odd", [{"id": 7}, {"task": ["a"]}, {"timelimit": "x"}, {"timelimit": [1]}, {"retries": "y"}, {"eta": 3}], ids=str
)
def test_what_celery_would_trip_over_later_does_not(fields: dict[str, Any], odd: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**fields, **odd}, _Fields)


class Worker:
    def __init__(self, consumer: object) -> None:
        self.consumer_cls = consumer


def test_a_consumer_of_somebodys_own_is_left_alone() -> None:
    for given, used in (
        (Consumer, GuardedConsumer),
        ("celery.worker.consumer:Consumer", GuardedConsumer),
        ("x:Y", "x:Y"),
    ):
        worker = Worker(given)
        guard(worker)
        assert worker.consumer_cls == used


def test_what_may_come_often_is_told_ever_more_rarely() -> None:
    assert [number for number in range(1, 10_001) if rarely(number)] == [1, 10, 100, 1_000, 10_000]
