"""Inputs that lie in memory or are walked through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import pytest

from manifold.abc import Source
from manifold.errors import ConfigError, InputGone
from manifold.sources import as_source, take


class Countdown:
    """Can be walked through again and again; its length is not known."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.n, 0, -1))


class SizedCountdown(Countdown):
    def __len__(self) -> int:
        return self.n


class Slow(Sequence[int]):
    """Counts how it is asked, as a sequence on a server would like to know."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def __len__(self) -> int:
        return 200

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        self.asked.append(index)
        return list(range(200))[index] if isinstance(index, slice) else index


class OldProtocol:
    """Iterable by __getitem__ alone."""

    def __getitem__(self, index: int) -> int:
        raise IndexError


INPUTS: list[tuple[str, Any, str, int | None, bool, bool]] = [
    # what, items, kind, total, sliceable, one_shot
    ("range", range(5, 500, 3), "range", 165, True, False),
    ("empty range", range(0), "range", 0, True, False),
    ("list", [{"n": n} for n in range(10)], "list", 10, True, False),
    ("empty list", [], "list", 0, True, False),
    ("tuple", tuple(range(300)), "list", 300, True, False),
    ("deque", deque(range(10)), "list", 10, True, False),
    ("re-iterable", Countdown(100), "iterable", None, False, False),
    ("sized re-iterable", SizedCountdown(100), "iterable", 100, False, False),
    ("dict items", {"a": 1, "b": 2}.items(), "iterable", 2, False, False),
]
by_name = pytest.mark.parametrize(
    ("items", "kind", "total", "sliceable", "one_shot"), [row[1:] for row in INPUTS], ids=[row[0] for row in INPUTS]
)


@by_name
def test_a_source_says_what_it_is(items: Any, kind: str, total: int | None, sliceable: bool, one_shot: bool) -> None:
    source = as_source(items)
    source.pin(None)
    said = (source.kind, source.total(), source.sliceable, source.one_shot)
    assert said == (kind, total, sliceable, one_shot)


@by_name
def test_reading_from_any_position_gives_the_items_from_there(
    items: Any, kind: str, total: int | None, sliceable: bool, one_shot: bool
) -> None:
    source, everything = as_source(items), list(items)
    source.pin(None)
    for start in (0, 1, len(everything) // 2, len(everything), len(everything) + 5):
        assert list(source.read(start)) == everything[start:]


@by_name
def test_slices_are_exact_and_end_with_the_input(
    items: Any, kind: str, total: int | None, sliceable: bool, one_shot: bool
) -> None:
    source, everything = as_source(items), list(items)
    source.pin(None)
    for start, stop in ((0, 3), (2, 2), (1, 1000), (len(everything), len(everything) + 1)):
        assert list(source.slice(start, stop)) == everything[start:stop]


def test_a_chunk_of_a_range_is_a_range() -> None:
    assert as_source(range(10_000_000)).slice(65_536, 131_072) == range(65_536, 131_072)


def test_a_source_stays_itself() -> None:
    source = as_source([1])
    assert as_source(source) is source


def test_equal_ranges_have_equal_fingerprints_and_others_do_not() -> None:
    def fingerprint(items: range) -> str | None:
        return as_source(items).fingerprint()

    assert fingerprint(range(0, 10, 3)) == fingerprint(range(0, 12, 3))
    assert fingerprint(range(0)) == fingerprint(range(5, 5))
    assert fingerprint(range(1, 2)) == fingerprint(range(1, 9, 100))
    assert len({fingerprint(r) for r in (range(10), range(11), range(1, 11), range(0, 20, 2), range(9, -1, -1))}) == 5


def test_a_lists_fingerprint_follows_its_length_and_its_samples() -> None:
    def fingerprint(items: list[Any]) -> str | None:
        return as_source(items).fingerprint()

    items = [{"n": n} for n in range(1000)]
    assert fingerprint(items) == fingerprint([dict(one) for one in items])
    assert fingerprint(items) != fingerprint(items[:-1])
    assert fingerprint(items) != fingerprint([{"n": -1}, *items[1:]])
    assert fingerprint(items) != fingerprint([*items[:-1], {"n": -1}])
    assert fingerprint([object()]) == fingerprint([object()])


def test_a_sequence_is_read_by_slices() -> None:
    # Each question may be a call to a server: 200 items are 4 questions, not 200.
    items = Slow()
    assert list(as_source(items).read(8)) == list(range(8, 200))
    assert len(items.asked) <= 4
    assert all(isinstance(one, slice) for one in items.asked)


def test_an_iterator_is_read_once_and_then_gone() -> None:
    source = as_source(n * n for n in range(10))
    source.pin(None)
    assert (source.kind, source.one_shot, source.total(), source.fingerprint()) == ("iterator", True, None, None)
    items = source.read()
    assert take(items, 3) == [0, 1, 4]
    assert take(items, 100) == [n * n for n in range(3, 10)]
    assert take(items, 100) == []
    with pytest.raises(InputGone, match="spool"):
        source.read()


def test_nothing_of_an_iterator_is_taken_before_it_is_read() -> None:
    def never() -> Iterator[int]:
        raise AssertionError("asked too early")
        yield 1

    source = as_source(never())
    source.pin(None)
    assert "once" in repr(source)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("abc", r"lines\(path\)"),
        (b"abc", r"write \[items\]"),
        (Path("urls.txt"), r"lines\(path\)"),
        ({"a": 1}, r"d\.items\(\)"),
        ({1, 2}, r"sorted\(items\)"),
        (frozenset("ab"), r"sorted\(items\)"),
        (7, "give a list"),
        (None, "give a list"),
        (range, "should be called"),
        (OldProtocol(), "give a list"),
    ],
)
def test_what_might_be_meant_otherwise_is_refused_with_what_to_write(items: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        as_source(items)


def test_no_repr_of_a_source_shows_the_items() -> None:
    # It stands in logs, and in Airflow's hash of a DAG, so it may hold no address either.
    for items in (["{{ secret }}"] * 3, (one for one in ["secret"]), SizedCountdown(3), Countdown(3)):
        shown = repr(as_source(items))
        assert "secret" not in shown
        assert " at 0x" not in shown


def test_a_source_of_ones_own_needs_four_methods() -> None:
    class Squares(Source):
        kind = "iterable"

        def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
            return {}

        def fingerprint(self) -> None:
            return None

        def total(self) -> int:
            return 4

        def read(self, start: int = 0) -> Iterator[int]:
            return (n * n for n in range(start, 4))

    source = Squares()
    assert list(as_source(source).slice(1, 3)) == [1, 4]
    assert (source.changes(), source.share_read(), source.one_shot, source.sliceable) == (None, None, False, False)
