"""The beginning of an input, as an input."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from manifold.errors import ConfigError
from manifold.sources import first


class Walked:
    def __iter__(self) -> Iterator[int]:
        return iter(range(10))


@pytest.mark.parametrize("items", [range(10), list(range(10)), Walked()])
def test_it_has_the_first_items_and_no_more(items: object) -> None:
    source = first(items, 4)
    source.pin(None)
    assert list(source.read()) == [0, 1, 2, 3]
    assert list(source.read(2)) == [2, 3]
    assert list(source.read(4)) == []
    assert list(source.slice(3, 9)) == [3]
    assert list(source.slice(6, 9)) == []


def test_an_input_with_fewer_items_is_whole() -> None:
    source = first(range(3), 10)
    assert source.total() == 3
    assert list(source.read()) == [0, 1, 2]


def test_a_length_that_is_known_is_known() -> None:
    assert first(range(10**9), 7).total() == 7
    assert first(Walked(), 7).total() is None


def test_another_number_is_another_input() -> None:
    assert first(range(9), 3).fingerprint() != first(range(9), 4).fingerprint()
    assert first(range(9), 3).fingerprint() != first(range(8), 3).fingerprint()
    assert first(Walked(), 3).fingerprint() is None


def test_its_end_can_be_foreseen_where_its_length_is_not_known() -> None:
    source = first(Walked(), 4)
    walk = source.read()
    next(walk), next(walk)
    assert source.share_read() == 0.5


@pytest.mark.parametrize("n", [-1, 1.5, "3", None, True])
def test_a_number_without_sense_is_refused(n: object) -> None:
    with pytest.raises(ConfigError, match="at least 0"):
        first(range(3), n)  # type: ignore[arg-type]
