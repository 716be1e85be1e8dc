"""Options, as far as they are more than a value."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.errors import ConfigError
from manifold.policy import Policy, Tolerance


@given(st.integers(0, 10_000), st.integers(0, 10**12))
def test_a_percentage_allows_exactly_its_share_rounded_down(hundredths: int, total: int) -> None:
    share = Tolerance.parse(f"{hundredths / 100:.2f} %")
    assert share.budget(0, total) == hundredths * total // 10_000


def test_a_share_of_an_unknown_number_counts_what_is_done_once_that_tells_something() -> None:
    share = Tolerance.parse("1%")
    assert share.allows(500, 999, None)
    assert share.allows(10, 1000, None)
    assert not share.allows(11, 1000, None)
    assert not share.allows(6, 599, None, ended=True)


@pytest.mark.parametrize("value", ["abc", "", "-1", "101%", "1.5", -1, 1.5, True, None, "1 percent", "NaN%"])
def test_what_is_neither_a_count_nor_a_percentage_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="neither a count"):
        Tolerance.parse(value)


@pytest.mark.parametrize("name", ["speculate", "keep_logs", "system"])
@pytest.mark.parametrize("value", ["no", "false", "yes", None, 1, 0])
def test_a_switch_is_true_or_false_and_no_text(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value!r} must be one of True, False"):
        Policy.of({name: value})


WRONG: dict[str, list[object]] = {
    "engine": [5, b"processes://4", ["threads://2"], True, " "],
    "store": [5, Path("/tmp"), {"url": "s3://b"}],
    "worker_queue": [5, ["a"], False, "  "],
    "chunk_size": ["5", 1.0, True, 0, 65_537, [5]],
    "chunk_bytes": [None, "4MB", 1023, 1e6],
    "max_concurrency": ["4", 0, 2.0, True],
    "rate_limit": ["10", 0, -1.0, math.inf, math.nan, True, 10**400],
    "item_retries": [None, "2", -1, 1.5, False],
    "retry_on": [5, None, [int], [5], object()],
    "no_retry_on": [5, None, [int], {"OSError": 5}.items()],
    "item_backoff": [None, "1", -1, math.nan, True],
    "item_timeout": ["5", 0, math.inf, True],
    "tolerate": [None, "abc", [1], 1.5, True],
    "stop_after_same_error": [None, "5", -1, True],
    "speculate": ["no", None, 1],
    "key": [5, "", ["id"]],
    "reduce": [5, "sum", "operator:add"],
    "async_concurrency": [None, "100", 0, 2.5],
    "connections": [5, [1], [""], ["a b"], ["crm", "CRM"], None, b"crm", [["crm"]], ["a\nb"]],
    "variables": [5, [1], [" "], ["a=b"], ["a", "A"], None, b"x"],
    "on_items_changed": [None, "ignore", True, ["fail"]],
    "on_code_changed": [None, "Fresh", 1, {}],
    "resume": [None, "no", False],
    "log_lines": [None, "100", -1],
    "keep_logs": ["false", 0],
    "system": ["no", 2],
}


def test_every_option_but_one_that_takes_anything_is_checked() -> None:
    assert set(WRONG) == Policy.names() - {"initial"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_of_a_wrong_type_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}(=|: ).*(must be|is neither|is not|is no |cannot|would share)"):
        Policy.of({name: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Policy(worker_queue=5, connections=["a b"], item_retries="2", tolerate=2)  # type: ignore[arg-type]
    told = str(caught.value)
    assert told.count("; ") == 2
    assert all(name in told for name in ("worker_queue=5", "connections: 'a b'", "item_retries='2'"))


def test_what_is_rendered_later_is_no_wrong_name() -> None:
    policy = Policy(connections="{{ params.crm }}", variables=["{% if x %}a{% endif %}"], worker_queue="")  # type: ignore[arg-type]
    assert policy.connections == ("{{ params.crm }}",)


def test_a_value_that_is_no_text_shows_no_password() -> None:
    with pytest.raises(ConfigError) as caught:
        Policy(engine=b"redis://me:hunter2@host")  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
