"""Errors of Airflow's in an item say what to do, also where there is little room."""

from __future__ import annotations

import pytest

from manifold.worker import faults
from manifold.worker.hints import hint


@pytest.mark.parametrize(
    ("kind", "text", "advice"),
    [
        ("airflow.sdk.exceptions.AirflowNotFoundException", "The conn_id `a b` isn't defined", 'connections=["a b"]'),
        (
            "airflow.sdk.exceptions.AirflowRuntimeError",
            "VARIABLE_NOT_FOUND: {'message': 'Variable region not found'}",
            'variables=["region"]',
        ),
        ("KeyError", "'Variable region does not exist'", 'variables=["region"]'),
        ("RuntimeError", "Current context was requested but no context was found! Are you", '.partial(ds="{{ ds }}"'),
        (
            "_pickle.PicklingError",
            "Can't pickle <function square at 0x7f>: attribute lookup square on __main__ failed",
            "one of a module beside the script",
        ),
        ("_pickle.PicklingError", "Can't pickle <class 'a.B'>: it's not the same object as a.B", "finds functions by"),
        ("ImportError", "cannot import name 'SUPERVISOR_COMMS' from 'airflow.sdk'", "Return the value"),
    ],
)
def test_an_error_that_a_task_would_not_have_says_what_to_write(kind: str, text: str, advice: str) -> None:
    assert advice in hint(kind, text)


def test_other_errors_say_what_they_say() -> None:
    assert hint("ValueError", "The conn_id `x` isn't defined") == ""
    assert hint("RuntimeError", "anything") == ""


def test_the_advice_stands_whole_at_the_end_of_a_long_message() -> None:
    error = ImportError("cannot import name 'SUPERVISOR_COMMS' from " + "x" * 1000)
    record, text = faults.failure(error, pos=0, attempts=1, item=0, key=None, digest=None)
    assert len(record.message) <= 300
    assert record.message.endswith("write it in a task further down")
    assert text.rstrip().endswith("write it in a task further down")
