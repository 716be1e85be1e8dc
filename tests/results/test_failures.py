"""Failed items, with what is known of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifold.errors import ResultsLost
from tests.results.conftest import Place


def divide(row: dict[str, int]) -> float:
    return row["a"] / row["b"]


ROWS = [{"a": n, "b": n % 4} for n in range(40)]


def test_each_failure_tells_item_error_place_and_worker(place: Place) -> None:
    results = place.scatter(divide, ROWS, key="a", item_retries=1)
    failures = list(results.failures())
    assert [one.position for one in failures] == [n for n in range(40) if n % 4 == 0]
    one = failures[2]
    assert (one.position, one.key, one.type, one.message) == (8, "8", "ZeroDivisionError", "division by zero")
    assert one.attempts == 2
    assert one.item_repr == repr(ROWS[8])
    assert one.item == ROWS[8]
    assert one.worker
    assert "divide" in one.traceback
    assert "ZeroDivisionError: division by zero" in one.traceback
    assert len({failure.fingerprint for failure in failures}) == 1


def test_failures_are_listed_without_reading_the_store(place: Place) -> None:
    results = place.scatter(divide, ROWS)
    for path in place.store.root.rglob("*.f"):
        path.unlink()
    assert len(list(place.anew(results).failures())) == 10


def test_a_scatter_without_failures_has_none(place: Place) -> None:
    assert list(place.scatter(divide, ROWS[1:4]).failures()) == []


def test_failures_of_every_layer_are_found_with_their_items(place: Place, tmp_path: Path) -> None:
    good = tmp_path / "good"

    def picky(n: int) -> int:
        if n % 2 and not (good.exists() and n % 4 == 1):
            raise ValueError(f"{n} at {'second' if good.exists() else 'first'} sight")
        return n

    place.scatter(picky, range(60), scatter_id="picky")
    good.touch()
    results = place.scatter(picky, range(60), scatter_id="picky")
    failures = list(results.failures())
    assert [(one.position, one.item) for one in failures] == [(n, n) for n in range(60) if n % 4 == 3]
    assert all(one.message.endswith("at second sight") for one in failures)
    assert all("second" in one.traceback for one in failures)


class Unkept:
    """Travels nowhere."""

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("not me")

    def __repr__(self) -> str:
        return "<an unkept thing>"


def test_an_item_that_could_not_be_kept_is_told_by_its_repr(place: Place) -> None:
    results = place.scatter(repr, [1, Unkept(), 3], engine="processes://1")
    assert list(results) == ["1", "3"]
    (failure,) = results.failures()
    assert (failure.position, failure.item_repr) == (1, "<an unkept thing>")
    assert "not me" in failure.message
    with pytest.raises(ResultsLost, match="<an unkept thing>"):
        _ = failure.item


def test_more_failures_than_a_page_are_all_listed(place: Place) -> None:
    def refuse(n: int) -> None:
        raise ValueError(n)

    results = place.scatter(refuse, range(2300), chunk_size=500)
    failures = list(results.failures())
    assert [one.position for one in failures] == list(range(2300))
    assert [failures[at].item for at in (0, 499, 500, 2299)] == [0, 499, 500, 2299]


def test_a_failure_that_was_fixed_meanwhile_is_told_apart(place: Place, tmp_path: Path) -> None:
    good = tmp_path / "good"

    def once(n: int) -> int:
        if not good.exists():
            raise ValueError(n)
        return n

    listed = place.scatter(once, range(5), scatter_id="once").failures()
    first = next(listed)
    good.touch()
    place.scatter(once, range(5), scatter_id="once")
    assert first.item == 0, "what was failed then is still in the store"
    assert [one.position for one in place.scatter(once, range(5), scatter_id="once").failures()] == []
    with pytest.raises(StopIteration):
        next(place.scatter(once, range(5), scatter_id="once").failures())
