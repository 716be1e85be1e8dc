"""What cannot be read is a ConfigError that names file and line; what can be, is read whole."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import struct
import zipfile
from datetime import time
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from manifold.errors import ConfigError
from manifold.sources import as_source, lines, records


def read(path: Path, data: bytes, format: str | None = None, **options: str) -> list[Any]:
    path.write_bytes(data)
    return list(records(path, format, **options).read())


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def flagged(archive: bytes, *, bits: int = 0, method: int | None = None) -> bytes:
    """The archive, its first member said to be encrypted, or packed by another method."""
    data = bytearray(archive)
    for mark, flags_at, method_at in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        at = data.index(mark)
        struct.pack_into("<H", data, at + flags_at, bits)
        if method is not None:
            struct.pack_into("<H", data, at + method_at, method)
    return bytes(data)


def in_parquet(*columns: tuple[str, pyarrow.Array]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table([array for _, array in columns], names=[name for name, _ in columns]), file)
    return file.getvalue()


def damaged_page() -> bytes:
    whole = bytearray(in_parquet(("a", pyarrow.array([f"text {n}" for n in range(10_000)]))))
    whole[200:5000] = b"\xff" * 4800
    return bytes(whole)


BAD = {
    "damaged bzip2": ("a.csv.bz2", b"BZh9 nothing of the kind", r"a\.csv\.bz2"),
    "damaged bzip2 later on": ("b.csv.bz2", bz2.compress(b"a,b\n" * 90_000)[:40] + b"x" * 60, r"b\.csv\.bz2"),
    "an encrypted member": ("a.zip", flagged(zipped({"a.csv": b"a\n1\n"}), bits=1), r"a\.zip.*a\.csv is encrypted"),
    "deflate64": ("a.zip", flagged(zipped({"a.csv": b"a\n1\n"}), method=9), r"a\.zip.*a\.csv is packed by a method"),
    "deep JSON": ("a.jsonl", b"1\n" + b"[" * 100_000 + b"]" * 100_000 + b"\n", r"a\.jsonl, line 2: .*nested too deep"),
    "deep JSON document": ("a.json", b"[" * 100_000 + b"]" * 100_000 + b"\n", r"a\.json, line 1: .*nested too deep"),
    "an integer of 5,000 digits": ("a.jsonl", b"1\n2\n" + b"9" * 5000 + b"\n", r"a\.jsonl, line 3: .*4300"),
    "half a value": ("a.jsonl", b'{"a": 1}\n{"a"\n', r"a\.jsonl, line 2"),
    "a damaged page": ("a.parquet", damaged_page(), r"a\.parquet"),
    "two columns of one name": ("a.csv", b"id,name,id\n1,x,2\n", r"a\.csv, line 1: columns 1 and 3 are called 'id'"),
    "two columns without a name": ("a.csv", b"id,,\n1,x,2\n", r"a\.csv, line 1: columns 2 and 3 have no name"),
    "a blank first line": ("a.csv", b"\nid,name\n1,x\n", r"a\.csv, line 1: it is blank"),
    "a first line of commas": ("a.csv", b",,\nid,name,x\n1,x,y\n", r"a\.csv, line 1: it is blank"),
    "an open quote": ("a.csv", b'id,name\n1,x\n2,"y\n3,z\n4,z\n', r"a\.csv, line 5: a quote is never closed"),
    "an open quote at the end": ("a.csv", b'id,name\n1,x\n2,"y', r"a\.csv, line 3: a quote is never closed"),
    "a README in a zip": ("a.zip", zipped({"d.csv": b"a\n1\n", "README.md": b"# D\n"}), r"a\.zip holds README\.md"),
    "an array that goes on": ("a.json", b"[\n1,\n2\n]\n[3]\n", r"a\.json, line 5: something follows the array"),
    "an array that is cut": ("a.json", b"[\n1,\n2\n", r"a\.json, line 4: the end, where \] should be"),
    "an array with a fault": ("a.json", b'[\n{"a": 1},\n{"a": oops}\n]', r"a\.json, line 3: no JSON"),
    "a document with a fault": ("a.json", b'{\n"a": 1\n"b": 2\n}', r"a\.json, line 3"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_read_is_told_with_file_and_line(tmp_path: Path, what: str) -> None:
    name, data, said = BAD[what]
    with pytest.raises(ConfigError, match=said):
        read(tmp_path / name, data)


def test_two_parquet_columns_of_one_name_are_told(tmp_path: Path) -> None:
    one = pyarrow.array([1])
    with pytest.raises(ConfigError, match=r"columns 1 and 2 are called 'a'"):
        read(tmp_path / "a.parquet", in_parquet(("a", one), ("a", one)))


@pytest.mark.parametrize("encoding", ["utf-99", "rot13", "", "no\0name"])
def test_an_encoding_that_is_none_is_refused_at_once(encoding: str) -> None:
    for make in (lines, records):
        with pytest.raises(ConfigError, match="encoding="):
            make("/data/a.csv", encoding=encoding)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_text_of_another_encoding_is_told_with_the_file(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.{suffix}"):
        read(tmp_path / f"a.{suffix}", '[{"a": "grün"}]\n'.encode("latin-1"))


def test_times_that_python_cannot_hold_are_told_with_their_column(tmp_path: Path) -> None:
    far = pyarrow.array([2**62], pyarrow.timestamp("us"))
    with pytest.raises(ConfigError, match=r"far\.parquet, rows 0 to 0: column 't' has timestamp"):
        read(tmp_path / "far.parquet", in_parquet(("id", pyarrow.array([1])), ("t", far)))


def test_nanoseconds_without_pandas_are_told_with_their_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from manifold.sources import formats

    class Batch:
        """A batch as pyarrow has it in an interpreter without pandas."""

        schema = pyarrow.schema([("t", pyarrow.timestamp("ns"))])
        num_rows = 1

        def to_pylist(self) -> list[Any]:
            raise ValueError("Nanosecond resolution temporal type 1 is not safely convertible to microseconds")

        def column(self, name: str) -> Batch:
            return self

    with pytest.raises(ConfigError, match=r"column 't' has timestamp\[ns\] that Python cannot hold: Nanosecond"):
        formats._rows(Batch(), "a.parquet", 0)


def test_a_large_csv_field_is_read(tmp_path: Path) -> None:
    large = "x" * 1_000_000
    assert read(tmp_path / "a.csv", f'a,b\n"{large}",1\n'.encode()) == [{"a": large, "b": "1"}]


def test_quotes_that_are_closed_are_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", b'a,b\n1,"x\ny\n"') == [{"a": "1", "b": "x\ny\n"}]
    assert read(tmp_path / "a.csv", b'a,b\n1,5" nail\n') == [{"a": "1", "b": '5" nail'}]


@pytest.mark.parametrize("data", [b"", b"\n\n", b" \n", b"a,b\n"])
def test_a_csv_file_without_rows_is_no_fault(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path / "a.csv", data) == []


VALUES: list[Any] = [{"a": 1, "b": "x]y, [z"}, [1, [2]], 'text \u2028 " \\', 2.5, None, True, 2**70, {}, [], -1]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("piece", [1, 7, 1 << 18])
def test_an_array_in_a_json_file_is_its_items(
    tmp_path: Path, indent: int | None, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manifold.sources.json_text._PIECE", piece)
    data = json.dumps(VALUES, indent=indent).encode()
    assert read(tmp_path / "a.json", b"\n\n " + data + b"\n") == VALUES
    assert read(tmp_path / "a.json", json.dumps([VALUES], indent=indent).encode()) == [VALUES]
    assert read(tmp_path / "a.json", b" [ ] ") == []


@pytest.mark.parametrize("piece", [3, 1 << 18])
def test_json_lines_in_a_json_file_are_its_items_and_one_document_is_one(
    tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [{"a": 1}, [1, 2], [3], "x"]
    data = "".join(json.dumps(value) + "\n" for value in values).encode()
    assert read(tmp_path / "a.json", b"\n" + data) == values
    assert read(tmp_path / "a.json", b"[1, 2]\n\n[3, 4]\n") == [[1, 2], [3, 4]]
    monkeypatch.setattr("manifold.sources.json_text._PIECE", piece)
    assert read(tmp_path / "a.json", b'{\n  "a": [1,\n 2]\n}\n') == [{"a": [1, 2]}]
    assert read(tmp_path / "a.json", b'{"a": 1}') == [{"a": 1}]
    assert read(tmp_path / "a.json", b"\n \n") == []
    assert read(tmp_path / "a.jsonl", b"[1, 2]\n") == [[1, 2]]


def test_members_of_a_zip_that_are_no_data_are_told_unless_lines_are_asked_for(tmp_path: Path) -> None:
    data = zipped({"d.csv": b"a\n1\n", "README.md": b"# D\n", "__MACOSX/._d.csv": b"\0", ".DS_Store": b"\0"})
    with pytest.raises(ConfigError, match=r"holds README\.md, beside d\.csv"):
        read(tmp_path / "a.zip", data, "csv")
    assert list(lines(tmp_path / "a.zip").read()) == ["a", "1", "# D"]
    assert read(tmp_path / "a.zip", zipped({"one.dat": b"a\n1\n"}), "csv") == [{"a": "1"}]
    assert read(tmp_path / "a.zip", zipped({"d.csv": b"a\n1\n", "sub/d.csv": b"a\n2\n"})) == [{"a": "1"}, {"a": "2"}]


class Polars:
    """As polars has it: iterated, it yields its columns."""

    columns = ("a", "b")

    def __iter__(self) -> Any:
        return iter([[1, 2], [3, 4]])

    def iter_rows(self, *, named: bool) -> None: ...


class Spark:
    columns = ("a",)

    def toLocalIterator(self) -> None: ...


def tables() -> list[tuple[Any, str]]:
    import pandas

    frame, table = pandas.DataFrame({"a": [1, 2], "b": [3, 4]}), pyarrow.table({"a": [1, 2]})
    return [
        (frame, r'write df\.to_dict\("records"\)'),
        (table, r"to_pylist\(\)"),
        (table.to_batches()[0], r"to_pylist\(\)"),
        (table["a"], r"to_pylist\(\)"),
        (Polars(), r"iter_rows\(named=True\)"),
        (Spark(), r"toLocalIterator\(\)"),
    ]


@pytest.mark.parametrize("at", range(6))
def test_a_table_is_refused_with_what_to_write_and_never_taken_for_its_columns(at: int) -> None:
    table, said = tables()[at]
    with pytest.raises(ConfigError, match=said):
        as_source(table)


def test_arrays_are_their_rows() -> None:
    import numpy
    import pandas

    assert [int(n) for n in as_source(numpy.arange(3)).read()] == [0, 1, 2]
    assert [row.tolist() for row in as_source(numpy.array([[1, 2], [3, 4]])).read(1)] == [[3, 4]]
    assert list(as_source(pandas.Series(["x", "y"])).read()) == ["x", "y"]
    with pytest.raises(ConfigError, match="no dimension"):
        as_source(numpy.array(3))


def test_a_quote_in_the_names_of_columns_that_is_never_closed_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.csv, line 2: a quote is never closed"):
        read(tmp_path / "a.csv", b'a,"b\n1,2\n')


def test_text_in_two_bytes_without_a_mark_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.csv, line 1: it has NUL characters; is it UTF-16"):
        read(tmp_path / "a.csv", "a,b\n1,2\n".encode("utf-16-le"))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.csv.zst", "a.csv.tar", "a.7z"])
def test_an_archive_is_never_taken_for_its_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"a\n1\n"))
    for source in (lines(tmp_path / name), records(tmp_path / name, "csv")):
        with pytest.raises(ConfigError, match="is not unpacked here"):
            list(source.read())


def test_times_of_day_are_read_whole_or_refused(tmp_path: Path) -> None:
    def in_file(nanoseconds: int) -> bytes:
        return in_parquet(("t", pyarrow.array([nanoseconds], pyarrow.time64("ns"))))

    assert read(tmp_path / "a.parquet", in_file(5_000)) == [{"t": time(0, 0, 0, 5)}]
    with pytest.raises(ConfigError, match=r"a\.parquet.*column 't' has time64\[ns\]"):
        read(tmp_path / "a.parquet", in_file(5_001))


def test_a_page_that_is_not_what_its_checksum_says_is_told(tmp_path: Path) -> None:
    file = io.BytesIO()
    table = pyarrow.table({"a": [*range(10_000)]})
    parquet.write_table(table, file, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(file.getvalue())
    data[5_000] ^= 0xFF
    with pytest.raises(ConfigError, match=r"a\.parquet is damaged"):
        read(tmp_path / "a.parquet", bytes(data))


def test_json_lines_in_a_json_file_may_be_long(tmp_path: Path) -> None:
    row = {"a": "x" * 400_000}
    assert read(tmp_path / "a.json", f"{json.dumps(row)}\n".encode() * 3) == [row] * 3


def test_arrows_readers_are_refused_and_cursors_that_know_their_columns_are_not() -> None:
    batch = pyarrow.record_batch({"a": [1]})
    with pytest.raises(ConfigError, match=r"write ….read_all\(\)\.to_pylist\(\)"):
        as_source(pyarrow.RecordBatchReader.from_batches(batch.schema, [batch]))

    class Cursor:
        columns = ("a",)

        def __iter__(self) -> Cursor:
            return self

        def __next__(self) -> int:
            raise StopIteration

    assert list(as_source(Cursor()).read()) == []
