"""Folded results: segments of all layers, from left to right, `initial` once."""

from __future__ import annotations

from pathlib import Path

import pytest

import manifold
from manifold.errors import ConfigError, EmptyReduce
from tests.results.conftest import Place


def join(left: str, right: str) -> str:
    return left + right


@pytest.mark.parametrize("chunk_size", [1, 7, 10, 1000])
def test_the_fold_is_that_of_a_loop_whatever_the_layout(place: Place, chunk_size: int) -> None:
    results = place.scatter(str, range(123), reduce=join, chunk_size=chunk_size)
    assert results.value() == "".join(map(str, range(123)))
    assert len(results) == 123


def test_failed_and_skipped_items_are_left_out_and_redriven_ones_fall_into_their_place(
    place: Place, tmp_path: Path
) -> None:
    good = tmp_path / "good"

    def spell(n: int) -> str:
        if n % 5 == 0:
            raise manifold.SkipItem
        if n % 3 == 0 and not good.exists():
            raise ValueError(n)
        return f"{n} "

    before = place.scatter(spell, range(60), scatter_id="spell", reduce=join)
    first = "".join(f"{n} " for n in range(60) if n % 5 and n % 3)
    assert before.value() == first
    good.touch()
    after = place.scatter(spell, range(60), scatter_id="spell", reduce=join)
    assert after.value() == "".join(f"{n} " for n in range(60) if n % 5)
    assert place.anew(before).value() == first


def test_initial_is_used_once_at_the_far_left(place: Place) -> None:
    results = place.scatter(str, range(40), reduce=join, initial=">")
    assert results.value() == ">" + "".join(map(str, range(40)))
    assert results.value(initial=">>") == ">>" + "".join(map(str, range(40)))
    assert results.value(lambda left, right: right) == "".join(map(str, range(30, 40)))


def test_nothing_to_fold_is_initial_or_an_error(place: Place) -> None:
    with pytest.raises(EmptyReduce, match="initial="):
        place.scatter(str, [], reduce=join).value()
    assert place.scatter(str, [], reduce=join, initial="").value() == ""

    def refuse(n: int) -> str:
        raise ValueError(n)

    with pytest.raises(EmptyReduce):
        place.scatter(refuse, range(5), reduce=join).value()


def test_a_fold_keeps_no_single_results_and_says_so(place: Place) -> None:
    results = place.scatter(str, range(20), reduce=join)
    for use in (list, lambda it: it[0], lambda it: list(it.pairs()), lambda it: list(it[3:5])):
        with pytest.raises(ConfigError, match=r"\.value\(\)"):
            use(results)
    with pytest.raises(ConfigError, match=r"functools\.reduce"):
        place.scatter(str, range(20)).value()


def test_a_fold_is_read_by_another_reader(place: Place) -> None:
    results = place.scatter(str, range(40), reduce=lambda left, right: left + right)
    assert manifold.Results.deserialize(results.serialize(), 1).value() == "".join(map(str, range(40)))
