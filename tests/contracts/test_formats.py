"""Every file format against what all must do: one row each, a file's bytes and the items in it."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from manifold.abc import Source
from manifold.errors import ConfigError
from manifold.registry import FORMATS
from manifold.sources import records

TABLE = [{"name": "Ada", "born": "1815"}, {"name": "Zoë", "born": "1984"}]


def _parquet() -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(TABLE), file)
    return file.getvalue()


SAMPLES: dict[str, tuple[bytes, list[Any]]] = {
    "csv": ("name,born\nAda,1815\nZoë,1984\n".encode(), TABLE),
    "json": ('[{"name": "Ada", "born": "1815"}, {"name": "Zoë", "born": "1984"}]'.encode(), TABLE),
    "jsonl": ('{"name": "Ada", "born": "1815"}\n{"name": "Zoë", "born": "1984"}\n'.encode(), TABLE),
    "lines": ("Ada\n\nZoë".encode(), ["Ada", "", "Zoë"]),
    "parquet": (_parquet(), TABLE),
    "tsv": ("name\tborn\nAda\t1815\nZoë\t1984\n".encode(), TABLE),
}
SUFFIXES = [(row.scheme, suffix) for row in FORMATS.entries.values() for suffix in row.suffixes]
WRITTEN = [(row.scheme, ending) for row in FORMATS.entries.values() for ending in row.written]


def items(source: Source) -> list[Any]:
    source.pin(None)
    return list(source.read())


def test_no_format_is_without_a_sample() -> None:
    assert SAMPLES.keys() == FORMATS.entries.keys()


@pytest.mark.parametrize("name", FORMATS.entries)
def test_a_format_that_is_asked_for_by_name_is_read_whatever_the_file_is_called(name: str, tmp_path: Path) -> None:
    data, there = SAMPLES[name]
    (tmp_path / "file").write_bytes(data)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(data))
    assert items(records(tmp_path / "file", format=name)) == there
    assert items(records(tmp_path / "packed.gz", format=name)) == there


@pytest.mark.parametrize(("name", "suffix"), SUFFIXES)
def test_a_file_is_read_by_its_suffix(name: str, suffix: str, tmp_path: Path) -> None:
    data, there = SAMPLES[name]
    (tmp_path / f"file.{suffix.upper()}").write_bytes(data)
    assert items(records(tmp_path / f"file.{suffix.upper()}")) == there


def test_no_suffix_means_two_formats() -> None:
    assert len({suffix for _, suffix in SUFFIXES}) == len(SUFFIXES)


@pytest.mark.parametrize("name", [name for name in FORMATS.entries if name != "lines"])
def test_what_is_no_such_file_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b'name\tborn,"\xff\n\x00')
    with pytest.raises(ConfigError, match="odd"):
        items(records(tmp_path / "odd", format=name))


@pytest.mark.parametrize(("name", "ending"), WRITTEN)
def test_what_a_format_writes_it_reads_again(name: str, ending: str, tmp_path: Path) -> None:
    row, path = FORMATS.entries[name], tmp_path / f"out.{ending}"
    assert row.load(row.writer)(TABLE, path) == len(TABLE)
    assert items(records(path)) == TABLE
