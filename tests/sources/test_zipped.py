"""Several inputs in step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manifold.errors import ConfigError
from manifold.sources import lines, take, zipped
from tests.sources.test_memory import Countdown


def test_items_are_tuples_in_the_order_of_the_keywords() -> None:
    source = zipped(b=range(3), a=["x", "y", "z"])
    source.pin(None)
    assert list(source.read()) == [(0, "x"), (1, "y"), (2, "z")]
    assert source.total() == 3
    assert source.sliceable
    assert source.slice(1, 9) == [(1, "y"), (2, "z")]


def test_a_single_input_gives_tuples_of_one() -> None:
    assert list(zipped(n=range(2)).read()) == [(0,), (1,)]


def test_reading_can_begin_anywhere() -> None:
    source = zipped(a=range(1000), b=Countdown(1000))
    for start in (0, 63, 64, 65, 999, 1000, 2000):
        assert list(source.read(start)) == [(n, 1000 - n) for n in range(start, 1000)]


def test_unequal_known_lengths_are_refused_before_anything_is_read() -> None:
    def never() -> Iterator[int]:
        raise AssertionError("read")
        yield 1

    with pytest.raises(ConfigError, match="url has 3 items and day has 1,200 items"):
        zipped(url=["a", "b", "c"], day=range(1200), other=never()).pin(None)


@pytest.mark.parametrize("longer", [11, 64, 65, 200])
@pytest.mark.parametrize("shorter", [0, 10])
def test_unequal_unknown_lengths_are_found_at_the_end_and_named(shorter: int, longer: int) -> None:
    source = zipped(a=Countdown(longer), b=Countdown(shorter))
    source.pin(None)
    assert source.total() is None
    items = source.read()
    assert len(take(items, shorter)) == shorter
    with pytest.raises(ConfigError, match=f"b ended after {shorter} items, where a has more"):
        next(items)


def test_an_iterator_that_is_longer_than_a_list_is_found_too() -> None:
    source = zipped(a=[1, 2], b=iter([1, 2, 3]))
    source.pin(None)
    assert source.one_shot
    assert source.total() is None
    with pytest.raises(ConfigError, match="a ended after 2 items, where b has more"):
        list(source.read())


def test_an_error_of_an_input_is_its_own() -> None:
    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("zip() argument 2 is shorter than argument 1")

    with pytest.raises(ValueError, match="zip") as caught:
        list(zipped(a=[1, 2], b=breaks()).read())
    assert not isinstance(caught.value, ConfigError)


def test_its_fingerprint_is_that_of_all_inputs_or_none() -> None:
    assert zipped(a=range(3), b=Countdown(3)).fingerprint() is None
    one, same = zipped(a=range(3), b=[1, 2, 3]), zipped(a=range(3), b=[1, 2, 3])
    assert one.fingerprint() == same.fingerprint()
    others = [zipped(b=[1, 2, 3], a=range(3)), zipped(a=range(3), b=[1, 2, 4]), zipped(a=range(3), c=[1, 2, 3])]
    assert one.fingerprint() not in {other.fingerprint() for other in others}


def test_it_pins_each_of_its_inputs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\ny\n")
    first = zipped(url=lines(tmp_path / "*.txt"), n=range(2))
    pinned = first.pin(None)
    (tmp_path / "b.txt").write_text("z\n")
    second = zipped(url=lines(tmp_path / "*.txt"), n=range(2))
    assert second.pin(pinned) == pinned
    assert list(second.read()) == [("x", 0), ("y", 1)]
    assert second.fingerprint() == first.fingerprint()
    (tmp_path / "a.txt").write_text("x\nother\n")
    third = zipped(url=lines(tmp_path / "*.txt"), n=range(2))
    third.pin(pinned)
    assert third.fingerprint() != first.fingerprint()
    assert "url: " in str(third.changes())
    assert "a.txt" in str(third.changes())


def test_no_inputs_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        zipped()
