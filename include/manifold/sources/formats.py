"""The bytes of one file as items: unpacked by the name's last suffix, then read by the one before it.

| suffix | unpacked as |       | suffix | read as |
|---|---|---|---|---|
| `.gz .bz2 .xz` | that | | `.csv .tsv` | a dict of strings per row, by the header |
| `.zip` | its members, one after the other | | `.jsonl .ndjson .json` | one JSON value a line |
| | | | `.parquet .pq` | a dict per row |

A CSV row with too few fields has None for the others; surplus ones stand in a list under the key None, as in
`csv.DictReader`. The first such row of a file is named in the log. Empty lines of CSV and JSON Lines are no items.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import logging
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from manifold.errors import ConfigError, MissingExtra

_log = logging.getLogger(__name__)
_PARQUET_ROWS = 4096
_RAGGED = "%s, line %d: %d fields, where the header has %d; missing ones are None, surplus ones stand under None"
_DAMAGED = (csv.Error, UnicodeError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)
_SUFFIXES = {
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
}


def checked(format: str | None) -> str | None:
    """`format`, if it can be read; raises ConfigError otherwise. None goes by the name of each file."""
    if format is None or format in _READERS:
        return format
    raise ConfigError(f"format={format!r} cannot be read; there are {', '.join(sorted(_READERS))}")


def recognised(name: str, format: str | None) -> None:
    """Raise ConfigError if the file's name tells no format and none is given."""
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() in _UNPACK:
        recognised(stem, format)
    elif suffix.lower() != "zip":
        _reader(name, format)


def read(raw: IO[bytes], name: str, format: str | None, encoding: str) -> Iterator[Any]:
    """The items of one open file, one by one. What is damaged raises ConfigError with the file's name."""
    try:
        for member, stream in _unpacked(raw, name):
            yield from _reader(member, format)(stream, member, encoding)
    except _DAMAGED as exc:
        raise ConfigError(f"{name} is damaged, or is not what its name says: {exc}") from exc


def _unpacked(raw: IO[bytes], name: str) -> Iterator[tuple[str, IO[bytes]]]:
    stem, _, suffix = name.rpartition(".")
    if suffix.lower() == "zip":
        with zipfile.ZipFile(raw) as archive:
            for member in archive.infolist():
                if not member.is_dir() and not member.filename.startswith("__MACOSX/"):
                    with archive.open(member) as stream:
                        yield from _unpacked(stream, member.filename)
    elif unpack := _UNPACK.get(suffix.lower()):
        with unpack(raw) as stream:
            yield from _unpacked(stream, stem)
    else:
        yield name, raw


_UNPACK: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "gz": lambda raw: cast("IO[bytes]", gzip.GzipFile(fileobj=raw)),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


def _reader(name: str, format: str | None) -> Callable[[IO[bytes], str, str], Iterator[Any]]:
    known = format or _SUFFIXES.get(name.rpartition(".")[2].lower())
    if known is None:
        raise ConfigError(
            f"the name of {name} does not tell its format: give records(…, format={'csv'!r}), or use lines"
        )
    return _READERS[known]


def _lines(stream: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    with io.TextIOWrapper(stream, encoding=encoding) as text:
        for line in text:
            yield line.rstrip("\n")


def _csv(stream: IO[bytes], name: str, encoding: str, delimiter: str = ",") -> Iterator[dict[str | None, Any]]:
    # What csv.DictReader yields; its own loop would not tell of rows that do not fit.
    with io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        rows = csv.reader(text, delimiter=delimiter)
        header = next(rows, [])
        width, ragged = len(header) or -1, False
        for row in rows:
            if len(row) == width:
                yield dict(zip(header, row, strict=True))
            elif row:
                if not ragged:
                    _log.warning(_RAGGED, name, rows.line_num, len(row), width)
                    ragged = True
                yield _ragged(header, row)


def _ragged(header: list[str], row: list[str]) -> dict[str | None, Any]:
    item: dict[str | None, Any] = dict.fromkeys(header)
    item.update(zip(header, row, strict=False))
    if len(row) > len(header):
        item[None] = row[len(header) :]
    return item


def _tsv(stream: IO[bytes], name: str, encoding: str) -> Iterator[dict[str | None, Any]]:
    return _csv(stream, name, encoding, delimiter="\t")


def _jsonl(stream: IO[bytes], name: str, encoding: str) -> Iterator[Any]:
    # The standard library's parser, because integers beyond 64 bits must stay what they are.
    with io.TextIOWrapper(stream, encoding=encoding, newline="\n") as text:
        for number, line in enumerate(text, 1):
            if not line.isspace():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as exc:
                    raise ConfigError(f"{name}, line {number}: not one JSON value on one line ({exc})") from exc


def _parquet(stream: IO[bytes], name: str, encoding: str) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ModuleNotFoundError as exc:
        raise MissingExtra(f'{name} needs {exc.name!r}: pip install "airflow-manifold[parquet]"') from exc
    try:
        for batch in parquet.ParquetFile(stream).iter_batches(batch_size=_PARQUET_ROWS):
            yield from batch.to_pylist()
    except ArrowInvalid as exc:
        raise ConfigError(f"{name} is damaged, or is no Parquet file: {exc}") from exc


_READERS: dict[str, Callable[[IO[bytes], str, str], Iterator[Any]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "lines": _lines,
    "parquet": _parquet,
    "tsv": _tsv,
}
