"""Options, as far as they are more than a value."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", ["speculate", "keep_logs"])
@pytest.mark.parametrize("value", ["no", "false", "yes", None])
def test_a_switch_is_true_or_false_and_no_text(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value!r} must be one of True, False"):
        Policy.of({name: value})
