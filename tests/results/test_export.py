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

import fsspec
import pytest
from pyarrow import parquet

from manifold.errors import ConfigError, MissingExtra
from manifold.results.export import to_jsonl, to_parquet
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
