"""What a reader sees: order, positions, slices, and a view that stays as it was."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

import manifold
from manifold.errors import ConfigError, LedgerError, TooManyFailures
from manifold.ledger import open_ledger
from manifold.results.results import Results
from manifold.results.slices import ResultsSlice
from manifold.sources import as_source
from tests.results.conftest import Place


def ends(n: int) -> str:
    """What becomes of item `n`: the same in every process."""
    return random.Random(n).choices("ofs", [8, 1, 1])[0]


def fate(n: int) -> dict[str, int]:
    end = ends(n)
    if end == "f":
        raise ValueError(f"{n} is not to my taste")
    if end == "s":
        raise manifold.SkipItem
    return {"n": n}


def model(total: int) -> list[tuple[int, dict[str, int]]]:
    return [(n, {"n": n}) for n in range(total) if ends(n) == "o"]


@pytest.mark.parametrize(("total", "chunk_size"), [(0, 10), (1, 10), (10, 10), (237, 10), (237, 1), (237, 1000)])
def test_results_are_those_that_succeeded_in_item_order(place: Place, total: int, chunk_size: int) -> None:
    results = place.scatter(fate, range(total), chunk_size=chunk_size)
    expected = model(total)
    values = [value for _, value in expected]
    assert list(results) == values
    assert list(results.pairs()) == expected
    assert len(results) == len(values)
    assert [results[at] for at in range(len(results))] == values
    assert [results[-at] for at in range(1, len(results) + 1)] == values[::-1]
    assert list(reversed(results)) == values[::-1]


def test_slices_are_views_and_slices_of_them_too(place: Place) -> None:
    results = place.scatter(fate, range(200))
    values = [value for _, value in model(200)]
    for part in (slice(5), slice(3, 90), slice(-7, None), slice(50, 40), slice(None, None, -1), slice(10, 100, 7)):
        view = results[part]
        assert list(view) == values[part]
        assert len(view) == len(values[part])
        assert [view[at] for at in range(len(view))] == values[part]
        assert list(view[2:9:3]) == values[part][2:9:3]
    assert "of <Results" in repr(results[:3])


def test_an_index_out_of_range_is_an_index_error(place: Place) -> None:
    results = place.scatter(fate, range(20))
    for at in (len(results), -len(results) - 1):
        with pytest.raises(IndexError, match=f"no result {at}: {len(results)} items succeeded"):
            results[at]
    with pytest.raises(IndexError, match=r"no result 3 in <3 of <Results"):
        results[:3][3]


def test_it_reads_what_is_asked_for_and_each_blob_once(place: Place) -> None:
    results = place.anew(place.scatter(abs, range(100)))
    place.store.read.clear()
    assert place.store.read == []
    assert results[55] == 55
    assert [results[at] for at in range(50, 60)] == list(range(50, 60))
    assert len(place.store.read) == 1
    place.store.read.clear()
    assert sum(results) == sum(range(100))
    assert len(place.store.read) == 10
    place.store.read.clear()
    assert list(results[25:35]) == list(range(25, 35))
    assert len(place.store.read) == 2
    place.store.read.clear()
    first = iter(results)
    assert next(first) == 0
    assert len(place.store.read) == 1


def test_the_index_holds_over_many_pages_of_chunks(place: Place) -> None:
    results = place.anew(place.scatter(abs, range(1200), chunk_size=1))
    assert [results[at] for at in (0, 999, 1000, 1001, 1199)] == [0, 999, 1000, 1001, 1199]
    assert list(results[995:1005]) == list(range(995, 1005))


class Flaky:
    """Fails on every third item until the file is there."""

    def __init__(self, fixed: Path) -> None:
        self.fixed = fixed

    def __call__(self, n: int) -> str:
        if n % 3 == 0 and (n % 2 or not self.fixed.exists()):
            raise RuntimeError(str(n))
        return f"{n};"


def test_a_later_redrive_changes_a_view_only_when_asked_to(place: Place, tmp_path: Path) -> None:
    flaky = Flaky(tmp_path / "fixed")
    before = place.scatter(flaky, range(50), scatter_id="flaky")
    old = [f"{n};" for n in range(50) if n % 3]
    assert list(before) == old
    flaky.fixed.touch()
    after = place.scatter(flaky, range(50), scatter_id="flaky")
    new = [f"{n};" for n in range(50) if n % 3 or n % 2 == 0]
    assert after.uid == before.uid
    assert list(after) == new
    assert [position for position, _ in after.pairs()] == [n for n in range(50) if n % 3 or n % 2 == 0]
    assert [after[at] for at in range(len(after))] == new
    again = place.anew(before)
    assert (list(again), len(again)) == (old, len(old))
    assert [again[at] for at in range(len(again))] == old
    assert list(before.latest()) == new
    assert [failure.position for failure in before.failures()] == [n for n in range(50) if n % 3 == 0 and n % 2]


def test_a_scatter_that_failed_shows_what_there_is(place: Place) -> None:
    with pytest.raises(TooManyFailures):
        place.scatter(fate, range(300), tolerate=0, scatter_id="strict")
    row = place.ledger.find("strict")
    assert row is not None
    results = Results.of(row, place.ledger, place.store)
    assert row.n_failed > 0
    assert len(results) == row.n_ok == len(list(results))
    assert set(results.pairs().__next__()[1]) == {"n"}
    without = results.summary()["without_outcome"]
    assert without == 300 - row.n_ok - row.n_failed - row.n_skipped


def test_the_summary_is_small_and_json(place: Place) -> None:
    summary = place.scatter(fate, range(200)).summary()
    counted = {letter: sum(ends(n) == letter for n in range(200)) for letter in "ofs"}
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["succeeded"], summary["failed"], summary["skipped"]) == (counted["o"], counted["f"], counted["s"])
    assert (summary["total"], summary["without_outcome"], summary["state"]) == (200, 0, "succeeded")
    assert [(kind["type"], kind["count"]) for kind in summary["errors"]] == [("ValueError", counted["f"])]


# The handle


def test_a_handle_is_small_readable_and_comes_back(place: Place) -> None:
    results = place.scatter(fate, range(100))
    data = json.loads(json.dumps(results.serialize()))
    assert data == {
        "uid": results.uid,
        "as_of": results.as_of,
        "total": 100,
        "n_ok": results.n_ok,
        "n_failed": results.n_failed,
        "n_skipped": results.n_skipped,
        "ledger": None,
    }
    values = [value for _, value in model(100)]
    assert list(Results.deserialize(data, Results.__version__)) == values
    assert list(pickle.loads(pickle.dumps(results))) == values
    assert "100 items" in repr(Results.deserialize(data, 1))
    with pytest.raises(ConfigError, match="version 2"):
        Results.deserialize(data, 2)


def test_a_part_travels_as_light_as_the_whole(place: Place) -> None:
    part = place.scatter(fate, range(100))[40:3:-2]
    data = json.loads(json.dumps(part.serialize()))
    assert len(str(data)) < 300
    assert list(ResultsSlice.deserialize(data, 1)) == list(part)
    assert list(pickle.loads(pickle.dumps(part))) == list(part)
    with pytest.raises(ConfigError, match="version 2"):
        ResultsSlice.deserialize(data, 2)


def test_a_handle_is_read_in_another_process(place: Place) -> None:
    results = place.scatter(fate, range(100))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_values, (results,)) == [value for _, value in model(100)]


def _values(results: Results) -> list[Any]:
    return list(results)


def test_a_ledger_of_ones_own_is_named_in_the_handle(place: Place, tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'own.db'}")
    results = place._replace(ledger=ledger).scatter(fate, range(20))
    assert results.serialize()["ledger"] == f"sqlite:///{tmp_path / 'own.db'}"
    assert list(pickle.loads(pickle.dumps(results))) == [value for _, value in model(20)]
    ledger.close()


def test_a_password_never_stands_in_a_handle(place: Place, postgres_url: str) -> None:
    password = make_url(postgres_url).password
    assert password
    ledger = open_ledger(postgres_url, migrate=True)
    results = place._replace(ledger=ledger).scatter(fate, range(20))
    assert list(results) == [value for _, value in model(20)]
    assert results.serialize()["ledger"] is None
    assert password.encode() not in pickle.dumps(results)
    assert password not in repr(results)
    ledger.close()


def test_a_handle_opens_nothing_before_it_is_used(tmp_path: Path) -> None:
    results = Results("0" * 32, 5, 100, 97, 2, 1, f"sqlite:///{tmp_path / 'nothing' / 'ledger.db'}")
    assert len(results) == 97
    assert "97 succeeded" in repr(results)
    assert len(results[10:20]) == 10
    assert list(tmp_path.iterdir()) == []


def test_a_handle_of_another_deployment_is_unknown_to_the_ledger(place: Place) -> None:
    results = Results("f" * 32, 5, 100, 97)
    with pytest.raises(LedgerError, match="ffff"):
        list(results)


# As an input


def test_results_are_the_input_of_another_scatter(place: Place) -> None:
    first = place.scatter(fate, range(100))
    second = place.scatter(_double, first)
    assert list(second) == [2 * value["n"] for _, value in model(100)]
    assert place.ledger.scatter(second.uid).source_kind == "results"
    third = place.scatter(_double, first[10:20])
    assert list(third) == [2 * value["n"] for _, value in model(100)[10:20]]


def _double(row: dict[str, int]) -> int:
    return 2 * row["n"]


def test_results_as_a_source_keep_their_moment(place: Place, tmp_path: Path) -> None:
    flaky = Flaky(tmp_path / "fixed")
    before = place.scatter(flaky, range(30), scatter_id="flaky")
    source = as_source(before)
    pinned = source.pin(None)
    assert (source.kind, source.total(), source.sliceable, source.one_shot) == ("results", 20, True, False)
    assert list(source.read(18)) == ["28;", "29;"]
    assert list(source.slice(1, 3)) == ["2;", "4;"]
    flaky.fixed.touch()
    after = place.scatter(flaky, range(30), scatter_id="flaky")
    same, other = as_source(place.anew(before)), as_source(after)
    assert same.pin(pinned) == pinned
    assert same.changes() is None
    assert same.fingerprint() == source.fingerprint()
    other.pin(pinned)
    assert "redriven" in str(other.changes())
    assert other.fingerprint() != source.fingerprint()


def test_results_as_an_input_are_walked_forward_and_each_blob_is_read_once(place: Place) -> None:
    first = place.scatter(abs, range(1000))
    source, at = place.anew(first).as_source(), 0
    source.pin(None)
    place.store.read.clear()
    for size in (1, 1, 3, 10, 25) * 25:  # as a coordinator cuts its chunks
        assert list(source.slice(at, at + size)) == [*range(at, min(at + size, 1000))]
        at += size
    assert at == 1000
    assert len(place.store.read) == len({*place.store.read}) == 100


def test_results_as_an_input_can_be_asked_for_any_part_again(place: Place) -> None:
    source = place.anew(place.scatter(abs, range(100))).as_source()
    for start, stop in ((0, 5), (50, 60), (60, 70), (10, 12), (95, 120), (100, 110), (0, 1)):
        assert list(source.slice(start, stop)) == [*range(start, min(stop, 100))]
    state: Any = source.__getstate__()
    assert state["_at"] is None
    assert list(state["_ahead"]) == []
