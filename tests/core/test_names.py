"""Names of scatters: what people are shown, they can write back."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.names import meant, name_parts, scatter_name, shown_name
from manifold.text import storable

RUNS = (
    "manual__2026-11-27T08:00:00+00:00",
    "scheduled__2026-11-27T08:00:00.123456+00:00",
    "with a space",
    "a/b",
    "/",
    "50%",
    "50%25",
    "%2F",
    "größe",
    "実行",
    "a[3]",
    "7",
    "-1",
    "caf\udce9",
    "",
)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("index", [-1, 0, 3, 1023])
def test_both_forms_of_a_name_mean_the_task(run: str, index: int) -> None:
    name = scatter_name("etl", run, "group.fetch", index)
    assert name in meant(shown_name(name))
    assert name in meant(name)


@given(st.text(), st.text(), st.text(), st.integers(-1, 5000))
def test_what_is_shown_is_taken_back(dag: str, run: str, task: str, index: int) -> None:
    name = scatter_name(dag.replace("/", "."), run, task.replace("/", "."), index)
    assert name in meant(shown_name(name))
    assert name in meant(name)


@given(st.text())
def test_the_name_of_a_scatter_of_plain_python_is_taken_back(name: str) -> None:
    assert storable(name) in meant(shown_name(name))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("etl/manual__2026-11-27T08%3A00%3A00%2B00%3A00/fetch/-1", "etl/manual__2026-11-27T08:00:00+00:00/fetch"),
        ("etl/a%20b/fetch/3", "etl/a b/fetch/3"),
        ("pages", "pages"),
        ("50%25", "50%25"),
        ("2026/11/27/5", "2026/11/27/5"),
        ("a b/c/d/1", "a b/c/d/1"),
        ("a/b/c", "a/b/c"),
        ("a/b/c/03", "a/b/c/03"),
    ],
)
def test_a_name_is_shown_as_people_write_it(name: str, shown: str) -> None:
    assert shown_name(name) == shown
    assert name in meant(shown)


def test_a_mapped_task_may_be_named_as_airflow_shows_it() -> None:
    assert scatter_name("etl", "a/b", "fetch", 3) in meant("etl/a/b/fetch[3]")


def test_the_parts_of_a_name_are_those_of_the_task() -> None:
    for run in RUNS[:-2]:
        assert name_parts(scatter_name("etl", run, "fetch", 7)) == ("etl", run, "fetch", 7)
        assert unquote(scatter_name(run)) == run
