"""Rate, percentiles, and how figures are written and values read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.cli import out
from manifold.cli.params import named_values, seconds_of
from manifold.rates import Work, mean_rate, percentiles, recent_rate
from manifold.text import duration


def test_the_rate_is_that_of_the_last_minute() -> None:
    assert recent_rate([Work(at, 60, 1.0) for at in range(200)]) == 60.0
    assert recent_rate([Work(61.0, 100, 1.0), Work(62.0, 100, 1.0)]) is None


def test_a_scatter_that_stands_still_slows_down() -> None:
    assert recent_rate([Work(40.0, 50, 5.0), Work(45.0, 50, 5.0)]) == 2.0


@pytest.mark.parametrize("commits", [[], [Work(0.0, 5)], [Work(0.0, 5), Work(0.0, 5)]])
def test_a_rate_needs_some_work_and_some_time(commits: list[Work]) -> None:
    assert recent_rate(commits) is None


def test_in_the_first_minute_a_chunk_counts_over_the_time_that_it_took() -> None:
    # Sixteen workers began their first chunks at once, and their commits came within milliseconds.
    commits = [Work(0.001 * at, 100, 10.0) for at in range(16)]
    assert recent_rate(commits) == pytest.approx(160, rel=0.01)
    assert recent_rate([Work(0.0, 100, 10.0)]) == 10.0


def test_what_is_done_of_the_chunks_that_run_counts() -> None:
    assert recent_rate([], Work(2.0, 300, 8.0)) == 30.0
    assert recent_rate([Work(20.0, 100, 10.0)], Work(0.0, 200, 20.0)) == 10.0


@pytest.mark.parametrize("slots", [1, 7, 64])
@pytest.mark.parametrize("seconds", [0.2, 5.0, 20.0, 45.0, 300.0])
@pytest.mark.parametrize("elapsed", [3.0, 17.0, 59.0, 61.0, 130.0, 1000.0])
def test_a_steady_scatter_has_a_steady_rate(slots: int, seconds: float, elapsed: float) -> None:
    """Each slot does 100 items per `seconds`, chunk after chunk, and begins at a moment of its own."""
    commits, done, oldest = [], 0.0, 0.0
    for slot in range(slots):
        since = elapsed - 0.5 * slot / slots
        whole = int(since / seconds)
        commits += [Work(since - seconds * (one + 1), 100, seconds) for one in range(whole)]
        done += 100 * (since / seconds - whole)
        oldest = max(oldest, since - seconds * whole)
    newest = sorted(commits)[:1000]
    found = recent_rate(newest, Work(0.0, done, oldest), complete=len(newest) < 1000)
    assert found == pytest.approx(100 * slots / seconds, rel=0.3)


def test_the_newest_commits_alone_tell_of_their_own_time() -> None:
    commits = [Work(0.01 * at, 10, 4.0) for at in range(200)]
    assert recent_rate(commits, complete=False) == pytest.approx(1000, rel=0.02)


def test_the_mean_rate_of_nothing_is_unknown() -> None:
    assert mean_rate(100, 10.0, 20.0) == 10.0
    assert mean_rate(0, 10.0, 20.0) is None
    assert mean_rate(5, 10.0, 10.0) is None


def test_a_chunk_weighs_as_many_items_as_it_has() -> None:
    assert percentiles([(1.0, 90), (5.0, 9), (60.0, 1)], 0.5, 0.9, 0.99, 1.0) == [1.0, 1.0, 5.0, 60.0]
    assert percentiles([], 0.5) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 20)), min_size=1, max_size=30), st.floats(0.01, 1))
def test_so_many_items_stay_at_or_below_their_percentile(means: list[tuple[float, int]], share: float) -> None:
    found = (percentiles(means, share) or [-1.0])[0]
    items = sorted(seconds for seconds, number in means for _ in range(number))
    assert sum(seconds <= found for seconds in items) >= share * len(items)
    assert sum(seconds < found for seconds in items) < share * len(items)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0.0, "0 ms"),
        (0.0000027, "0.0027 ms"),
        (0.05, "50 ms"),
        (0.0999, "0.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3600 * 3 + 60 * 12 + 5, "3 h 12 min"),
        (86400 * 5 + 3600 * 2, "5 d 2 h"),
    ],
)
def test_a_duration_is_written_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(None, "?"), (1234.4, "1,234/s"), (10, "10/s"), (0.4, "0.4/s")])
def test_a_rate_is_written_for_people(rate: float | None, text: str) -> None:
    assert out.rate(rate) == text


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), ("45s", 45)])
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a=4", 4),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=none", None),
        ("a=null", None),
        ("a=1%", "1%"),
        ("a=TimeoutError", "TimeoutError"),
        ('a=["OSError","KeyError"]', ["OSError", "KeyError"]),
        ("a=b=c", "b=c"),
        ("a=", ""),
    ],
)
def test_a_value_is_json_where_it_can_be(pair: str, value: Any) -> None:
    assert list(named_values([pair])) == [("a", value)]
