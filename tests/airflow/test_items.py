"""Items stand in `template_fields` without being rendered, walked or shown."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, XComArg

from manifold.airflow.items import Items, check_items, check_lengths
from manifold.errors import ConfigError


class Upstream(BaseOperator):
    def execute(self, context: Any) -> None:
        return


def output(task_id: str = "upstream") -> XComArg:
    with DAG("d", schedule=None):
        return XComArg(Upstream(task_id=task_id))


class Counted:
    """Iterable again and again, of unknown length."""

    def __iter__(self) -> Any:
        return iter(range(3))


def test_an_output_is_found_as_a_reference() -> None:
    assert [task.task_id for task, _ in Items({"a": output()}).iter_references()] == ["upstream"]


def test_outputs_in_a_list_are_found_and_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(output()), "resolve", lambda *_: 7)
    items = Items({"a": [1, output(), 3]})
    assert [task.task_id for task, _ in items.iter_references()] == ["upstream"]
    assert items.resolve({}).values == {"a": [1, 7, 3]}


def test_braces_in_items_stay_as_they_are() -> None:
    raw = ["{{ ds }}", "{% bad", "{# x"]
    assert Items({"a": raw}).resolve({}).values["a"] is raw


def test_a_function_of_the_context_is_called_in_the_task() -> None:
    items = Items({"n": lambda context: range(context["params"]["count"])})
    assert items.resolve({"params": {"count": 4}}).values == {"n": range(4)}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (range(10**9), "range(0, 1000000000)"),
        ([1] * 5000, "5,000 items"),
        (Counted(), "Counted"),
        (len, "len(context)"),
    ],
)
def test_it_is_shown_in_a_few_words_without_addresses(value: object, told: str) -> None:
    assert str(Items({"x": value})) == f"x={told}"


def test_an_output_is_shown_by_its_task() -> None:
    assert str(Items({"x": output("find")})) == "x=output of find"


def test_a_generator_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"only once.*lambda context"):
        check_items("x", (n for n in range(3)))


@pytest.mark.parametrize("value", ["text", b"bytes", 5, None, {"a": 1}, {1, 2}])
def test_what_is_no_sequence_of_items_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"over\(x=…\)"):
        check_items("x", value)


@pytest.mark.parametrize("value", [[], (), range(3), Counted(), {}.items(), len])
def test_what_can_be_read_again_is_accepted(value: object) -> None:
    check_items("x", value)


def test_lists_of_unequal_length_are_refused_when_the_dag_is_read() -> None:
    with pytest.raises(ConfigError, match="a has 3, b has 2"):
        check_lengths({"a": [1, 2, 3], "b": range(2), "c": Counted()})


@pytest.mark.parametrize(
    ("value", "warned"),
    [
        (list(range(10_001)), "10,001 items"),
        (["x" * 6_000_000, "y" * 6_000_000], "more than 10 MB"),
        (list(range(10_000)), None),
        (range(10**6), None),
    ],
)
def test_a_large_xcom_is_warned_of_with_the_better_way(
    value: object, warned: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(output()), "resolve", lambda *_: value)
    with caplog.at_level(logging.WARNING, "manifold"):
        Items({"x": output()}).resolve({})
    if warned is None:
        assert not caplog.records
    else:
        assert warned in caplog.text
        assert "manifold.sources.lines" in caplog.text
