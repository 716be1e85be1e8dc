"""Results as files."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import fsspec
import pandas
import pyarrow
import pytest
from pyarrow import parquet

from manifold.errors import ConfigError, MissingExtra
from manifold.writers.jsonl import to_jsonl
from manifold.writers.parquet import to_parquet
from tests.results.conftest import Place


def row(n: int) -> dict[str, Any]:
    return {"n": n, "name": f"ü{n}", "half": n / 2}


def test_json_lines_have_one_result_a_line(place: Place, tmp_path: Path) -> None:
    results = place.scatter(row, range(100))
    assert results.to_jsonl(tmp_path / "a.jsonl") == 100
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        row(n) for n in range(100)
    ]
    assert results.to_jsonl(str(tmp_path / "a.jsonl.gz")) == 100
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == (tmp_path / "a.jsonl").read_bytes()


def test_parquet_has_one_row_a_result(place: Place, tmp_path: Path) -> None:
    results = place.scatter(row, range(100))
    assert results.to_parquet(tmp_path / "a.parquet") == 100
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == [row(n) for n in range(100)]


@dataclass
class Point:
    x: int
    y: float | None = None


def test_what_json_lacks_is_written_as_text_and_objects(tmp_path: Path) -> None:
    values = [dt.datetime(2026, 1, 2, 3, 4), dt.date(2026, 1, 2), Decimal("1.10"), Point(1), {"deep": [Point(2, 0.5)]}]
    to_jsonl(values, tmp_path / "a.jsonl")
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        "2026-01-02T03:04:00",
        "2026-01-02",
        "1.10",
        {"x": 1, "y": None},
        {"deep": [{"x": 2, "y": 0.5}]},
    ]


def test_a_value_that_is_no_json_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("of yesterday")
    with pytest.raises(ConfigError, match="result 2, an object"):
        to_jsonl([1, 2, object()], tmp_path / "a.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "of yesterday"


def test_parquet_finds_columns_and_types_that_come_late(tmp_path: Path) -> None:
    early: list[Any] = [{"a": None, "b": 1} for _ in range(10_000)]
    late: list[Any] = [{"b": 2.5, "c": "new"}, {"a": dt.date(2026, 1, 1), "b": None}]
    assert to_parquet(early + late, tmp_path / "a.parquet") == 10_002
    table = parquet.read_table(tmp_path / "a.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {"a": "date32[day]", "b": "double", "c": "string"}
    assert table.slice(9_999).to_pylist() == [
        {"a": None, "b": 1.0, "c": None},
        {"a": None, "b": 2.5, "c": "new"},
        {"a": dt.date(2026, 1, 1), "b": None, "c": None},
    ]


def test_parquet_of_single_values_and_of_objects(tmp_path: Path) -> None:
    to_parquet(range(3), tmp_path / "a.parquet")
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == [{"value": 0}, {"value": 1}, {"value": 2}]
    to_parquet([Point(1, 2.0), Point(3)], tmp_path / "b.parquet")
    assert parquet.read_table(tmp_path / "b.parquet").to_pylist() == [{"x": 1, "y": 2.0}, {"x": 3, "y": None}]
    assert to_parquet([], tmp_path / "c.parquet") == 0
    assert parquet.read_table(tmp_path / "c.parquet").num_rows == 0


@pytest.mark.parametrize("values", [[{"a": 1}, {"a": "x"}], [1, "x"], [object()], [2**80]])
def test_values_that_fit_no_column_are_refused_and_nothing_is_left(tmp_path: Path, values: list[Any]) -> None:
    with pytest.raises(ConfigError, match="to_jsonl"):
        to_parquet(values, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_is_answered_with_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"airflow-manifold\[parquet\]"):
        to_parquet([1], tmp_path / "a.parquet")


def test_any_file_system_of_fsspec_will_do_and_sees_only_whole_files() -> None:
    name = uuid4().hex
    fs = fsspec.filesystem("memory")
    to_jsonl([1, 2], f"memory://{name}/a.jsonl")
    assert fs.cat_file(f"/{name}/a.jsonl") == b"1\n2\n"
    to_parquet([1, 2], f"memory://{name}/a.parquet")
    with fs.open(f"/{name}/a.parquet") as file:
        assert parquet.read_table(file).num_rows == 2
    with pytest.raises(ConfigError):
        to_jsonl([1, object()], f"memory://{name}/b.jsonl")
    assert not fs.exists(f"/{name}/b.jsonl")
    fs.rm(f"/{name}", recursive=True)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        to_jsonl([1], tmp_path / "nothing" / "a.jsonl")


DAY, TIME = dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5, 6)
AWARE = TIME.replace(tzinfo=ZoneInfo("America/New_York"))
FINE = pandas.Timestamp("2026-01-02 03:04:05.000000001")


def column(values: list[Any], path: Path) -> pyarrow.ChunkedArray:
    to_parquet([{"c": value} for value in values], path)
    return parquet.read_table(path)["c"]


@pytest.mark.parametrize("far", [1, 20_000])  # in one piece of the file, or in two
@pytest.mark.parametrize("turned", [False, True])
def test_dates_beside_datetimes_become_datetimes_and_no_time_is_lost(tmp_path: Path, far: int, turned: bool) -> None:
    values: list[Any] = [DAY] * far + [None, TIME]
    if turned:
        values.reverse()
    wanted = [dt.datetime.combine(one, dt.time()) if one is DAY else one for one in values]
    assert column(values, tmp_path / "a.parquet").to_pylist() == wanted


@pytest.mark.parametrize("far", [1, 20_000])
@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (TIME, AWARE, "mixes datetime and datetime with a zone"),
        (AWARE, TIME, "mixes datetime and datetime with a zone"),
        (DAY, AWARE, "mixes date and datetime with a zone"),
        (DAY, "2026", "mixes date and text"),
        (dt.timedelta(days=1), 5, "mixes duration and other"),
        ("a", b"a", "mixes bytes and text"),
        (dt.time(3, tzinfo=dt.UTC), None, "times of day with a zone"),
        (FINE, dt.datetime(1, 1, 1), "out of bounds for nanosecond"),
    ],
)
def test_what_would_be_cut_is_refused_with_its_column(
    tmp_path: Path, one: Any, other: Any, said: str, far: int
) -> None:
    with pytest.raises(ConfigError, match=said):
        column([one] * far + [other], tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


@pytest.mark.parametrize(
    "nested",
    [[[DAY, TIME]], [{"at": TIME}, {"at": AWARE}], [[{"at": DAY}, {"at": TIME}]]],
)
def test_what_would_be_cut_deep_inside_is_refused(tmp_path: Path, nested: list[Any]) -> None:
    with pytest.raises(ConfigError, match="column 'c'"):
        column(nested, tmp_path / "a.parquet")
    good = [[{"at": TIME}, {"at": None}], [], None]
    assert column(good, tmp_path / "a.parquet").to_pylist() == good


def test_nanoseconds_and_zones_are_kept(tmp_path: Path) -> None:
    fine = column([TIME] * 9000 + [FINE, pandas.NaT], tmp_path / "a.parquet")
    assert fine.type == pyarrow.timestamp("ns")
    assert fine[9000].as_py() == FINE
    assert fine[9001].as_py() is None
    zones = column([AWARE, AWARE.astimezone(dt.UTC)], tmp_path / "b.parquet").to_pylist()
    assert zones == [AWARE, AWARE]
    assert all(one.tzinfo is not None for one in zones)
    assert column([dt.time(3, 4, 5, 6)], tmp_path / "c.parquet").to_pylist() == [dt.time(3, 4, 5, 6)]


def test_nanoseconds_of_durations_are_kept_in_parquet(tmp_path: Path) -> None:
    spans = [dt.timedelta(days=1)] * 9_000 + [pandas.Timedelta(1, "ns")]
    to_parquet(spans, tmp_path / "a.parquet")
    assert parquet.read_table(tmp_path / "a.parquet").column("value").cast("int64").to_pylist()[-1] == 1


def test_two_keys_of_one_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the same text"):
        to_parquet([{1: "one", "1": "another"}], tmp_path / "a.parquet")
