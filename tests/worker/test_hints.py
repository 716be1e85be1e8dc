"""Errors of Airflow's in an item say what to do, also where there is little room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.text import shortened
from manifold.worker import error_report
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
            "one beside the script",
        ),
        ("_pickle.PicklingError", "Can't pickle <class 'a.B'>: it's not the same object as a.B", "`import helper`"),
        ("_pickle.PicklingError", "Can't pickle <enum 'K'>: attribute lookup K on __main__ failed", "by name"),
        ("_pickle.PicklingError", "Can't pickle <function f at 0x7>: import of module 'helper' failed", "by name"),
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
    record, text = error_report.failure(error, pos=0, attempts=1, item=0, key=None, digest=None)
    assert len(record.message) <= 300
    assert record.message.endswith("write it in a task further down")
    assert text.rstrip().endswith("write it in a task further down")


@pytest.mark.parametrize(
    ("text", "room", "wanted"),
    [
        ("short", 5, "short"),
        ("no such file: '/data/customers/2026/11/27.csv'", 40, "no such file: '/data/customers/2026/11/…"),
        ("the connection to the server was closed", 30, "the connection to the server…"),
        ("the connection to the server was closed", 24, "the connection to the…"),
        ("https://example.com/a?first=1&second=22&third=3", 40, "https://example.com/a?first=1&second=…"),
        ("x" * 100, 10, "x" * 9 + "…"),
        ("a " + "x" * 100, 10, "a " + "x" * 7 + "…"),
        ("anything", 1, "…"),
        ("anything", 0, ""),
        ("anything", -3, ""),
        ("", 3, ""),
    ],
)
def test_what_is_too_long_is_cut_at_a_boundary(text: str, room: int, wanted: str) -> None:
    assert shortened(text, room) == wanted


@given(st.text(alphabet="ab/ \n.&…", max_size=60), st.integers(-1, 70))
def test_what_is_cut_is_never_longer_than_its_room(text: str, room: int) -> None:
    cut = shortened(text, room)
    assert len(cut) <= max(0, room)
    assert cut == text or cut == "" or (cut.endswith("…") and text.startswith(cut[:-1]))


@pytest.mark.parametrize("folder", [f"/srv/data/{'level/' * n}" for n in (5, 20, 60)])
def test_a_path_is_not_cut_within_one_of_its_parts(folder: str) -> None:
    for error in (
        OSError(24, "Too many open files", f"{folder}file.csv"),
        FileNotFoundError(2, "No such file or directory", f"{folder}file.csv" * 3),
    ):
        record, _ = error_report.failure(error, pos=0, attempts=1, item=0, key=None, digest=None)
        assert len(record.message) <= 300
        before, cut, after = record.message.partition("…")
        assert not cut or before[-1] in "/ :,", record.message
        assert "per_worker" in after or not isinstance(error, OSError) or error.errno != 24 or not cut


def test_an_advice_with_a_long_name_is_cut_at_a_boundary_too() -> None:
    error = type("AirflowNotFoundException", (Exception,), {})(f"The conn_id `{'crm_' * 60}` isn't defined")
    record, _ = error_report.failure(error, pos=0, attempts=1, item=0, key=None, digest=None)
    assert len(record.message) <= 300
    assert record.message.startswith("Workers have the connections that @task.scatter(")
