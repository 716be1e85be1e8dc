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
import logging
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from typing import IO, Any, cast

from manifold.errors import ConfigError, ManifoldError
from manifold.registry import FORMATS

_log = logging.getLogger(__name__)
_PARQUET_ROWS = 4096
_RAGGED = "%s, line %d: %d fields, where the header has %d; missing ones are None, surplus ones stand under None"
_DAMAGED = (csv.Error, UnicodeError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_LARGEST_FIELD = 64 << 20  # characters; the standard library's 128 KiB are less than many a text has
_ARCHIVES = frozenset({"tar", "tgz", "tbz", "tbz2", "txz", "7z", "rar", "zst", "lz4", "br", "z"})


def checked(format: str | None) -> str | None:
    """`format`, if it can be read; raises ConfigError otherwise. None goes by the name of each file."""
    if format is None or (isinstance(format, str) and FORMATS.named(format)):
        return format
    there_are = ", ".join(sorted(row.scheme for row in FORMATS.rows()))
    raise ConfigError(f"format={format!r} cannot be read; there are {there_are}")


def known_encoding(encoding: str) -> str:
    """`encoding`, if Python knows it as one of text; raises ConfigError otherwise."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, TypeError, ValueError) as exc:
        raise ConfigError(f"encoding={encoding!r} cannot be read: {exc}; utf-8 and latin-1 are usual") from exc
    return encoding


def recognised(name: str, format: str | None) -> None:
    """Raise ConfigError if the file's name tells no format and none is given."""
    stem, suffix = _split(name)
    if suffix in _ARCHIVES:
        raise ConfigError(
            f"{name} is packed as .{suffix}, which is not unpacked here: unpack it, or make a .zip or .gz"
        )
    if suffix in _UNPACK:
        recognised(stem, format)
    elif suffix != "zip":
        _reader(name, format)


def read(raw: IO[bytes], name: str, format: str | None, encoding: str) -> Iterator[Any]:
    """The items of one open file, one by one. What cannot be read raises ConfigError with the file's name."""
    try:
        recognised(name, format)
        for member, stream in _unpacked(raw, name, format):
            yield from _reader(member, format)(stream, member, encoding)
    except ManifoldError:
        raise
    except _DAMAGED as exc:
        raise ConfigError(f"{name} is damaged, or is not what its name says: {exc}") from exc


def _unpacked(raw: IO[bytes], name: str, format: str | None) -> Iterator[tuple[str, IO[bytes]]]:
    stem, suffix = _split(name)
    if suffix == "zip":
        with zipfile.ZipFile(raw) as archive:
            for member in _members(archive, name, format):
                with _member(archive, member, name) as stream:
                    yield from _unpacked(stream, f"{name}/{member.filename}", format)
    elif unpack := _UNPACK.get(suffix):
        with unpack(raw) as stream:
            yield from _unpacked(stream, stem, format)
    else:
        yield name, raw


def _members(archive: zipfile.ZipFile, name: str, format: str | None) -> list[zipfile.ZipInfo]:
    """The files of a zip; raises ConfigError for one among them that is not data, as a README is not."""
    hidden = ("__MACOSX/", "/.", ".")
    members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith(hidden)]
    named = {one.filename: _format_of(one.filename) for one in members}
    if format == "lines":
        return members
    known = [file for file, found in named.items() if found is not None]
    strange = [file for file, found in named.items() if found is None]
    if strange and (format is None or format in named.values()):
        beside = f", beside {known[0]}" if known else ""
        raise ConfigError(
            f"{name} holds {strange[0]}{beside}, and that name tells no format: take it out of the zip, "
            "give it a suffix such as .csv, or use lines"
        )
    return members


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except RuntimeError as exc:  # also NotImplementedError, which is one
        encrypted = bool(member.flag_bits & 0x1)
        why = "is encrypted" if encrypted else f"is packed by a method that Python cannot unpack ({exc})"
        raise ConfigError(f"{name}: its member {member.filename} {why}; pack it anew, without that") from exc


_UNPACK: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "gz": lambda raw: cast("IO[bytes]", gzip.GzipFile(fileobj=raw)),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


def _split(name: str) -> tuple[str, str]:
    """A name without its last suffix, and that suffix in lower case. What a URL asks for is not part of either."""
    path = name.partition("?")[0].partition("#")[0] if "://" in name else name
    folder, slash, file = path.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    return (f"{folder}{slash}{stem}", suffix.lower()) if dot else (path, "")


def _format_of(name: str) -> str | None:
    stem, suffix = _split(name)
    return "zip" if suffix == "zip" else _format_of(stem) if suffix in _UNPACK else _format_of_suffix(suffix)


@cache
def _format_of_suffix(suffix: str) -> str | None:
    for rows in (FORMATS.entries.values, FORMATS.rows):  # the second one looks for other packages
        for row in rows():
            if suffix in row.suffixes:
                return row.scheme
    return None


def _reader(name: str, format: str | None) -> Callable[[IO[bytes], str, str], Iterator[Any]]:
    known = format or _format_of_suffix(_split(name)[1])
    row = FORMATS.named(known) if known else None
    if row is None:
        raise ConfigError(
            f"the name of {name} does not tell its format: give records(…, format={'csv'!r}), or use lines"
        )
    return row.load()  # type: ignore[no-any-return]


def text_lines(stream: IO[bytes], name: str, encoding: str) -> Iterator[str]:
    with io.TextIOWrapper(stream, encoding=encoding) as text:
        for line in text:
            yield line.rstrip("\n")


def csv_rows(stream: IO[bytes], name: str, encoding: str, delimiter: str = ",") -> Iterator[dict[str | None, Any]]:
    # What csv.DictReader yields; its own loop would not tell of rows that do not fit.
    if csv.field_size_limit() < _LARGEST_FIELD:
        csv.field_size_limit(_LARGEST_FIELD)
    with io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        end = _End()
        rows = csv.reader(chain(text, end), delimiter=delimiter)
        try:
            header = _header(rows, name)
            if header and end.reached:  # in the middle of the names
                raise csv.Error("a quote is never closed")
            width, ragged = len(header) or -1, False
            for row in rows:
                if end.reached:  # in the middle of a row
                    raise csv.Error("a quote is never closed")
                if len(row) == width:
                    yield dict(zip(header, row, strict=True))
                elif row:
                    if not ragged:
                        _log.warning(_RAGGED, name, rows.line_num, len(row), width)
                        ragged = True
                    yield _ragged(header, row)
        except csv.Error as exc:
            raise ConfigError(f"{name}, line {rows.line_num}: {exc}{_quote_hint(exc)}") from exc
        except UnicodeError as exc:
            raise ConfigError(f"{name}, after line {rows.line_num}: {exc}; give the encoding=") from exc


class _End:
    """Follows the lines of a file, and knows whether more of them were asked for."""

    def __init__(self) -> None:
        self.reached = False

    def __iter__(self) -> _End:
        return self

    def __next__(self) -> str:
        self.reached = True
        raise StopIteration


def _header(rows: Iterator[list[str]], name: str) -> list[str]:
    row = next(rows, [])
    if any(cell.strip() for cell in row):
        if any("\0" in cell for cell in row):
            raise ConfigError(f"{name}, line 1: it has NUL characters; is it UTF-16? Give encoding='utf-16-le', or -be")
        return _different(row, f"{name}, line 1")
    if any(any(cell.strip() for cell in row) for row in rows):
        raise ConfigError(f"{name}, line 1: it is blank, and the names of the columns should be there")
    return []  # there is nothing in the file


def _different(columns: list[str], where: str) -> list[str]:
    """`columns`, if no two are alike: else a row as a dict would lack one."""
    if len({*columns}) < len(columns):
        twice = next(column for at, column in enumerate(columns) if column in columns[:at])
        places = [str(at) for at, column in enumerate(columns, 1) if column == twice]
        called = f"are called {twice!r}" if twice else "have no name"
        raise ConfigError(f"{where}: columns {' and '.join(places)} {called}; give each a name of its own")
    return columns


def _quote_hint(exc: csv.Error) -> str:
    if "field limit" in str(exc):
        return f" ({_LARGEST_FIELD >> 20} MiB): perhaps a quote before it is never closed"
    return ": where it opens, what should be other rows became one field" if "never closed" in str(exc) else ""


def _ragged(header: list[str], row: list[str]) -> dict[str | None, Any]:
    item: dict[str | None, Any] = dict.fromkeys(header)
    item.update(zip(header, row, strict=False))
    if len(row) > len(header):
        item[None] = row[len(header) :]
    return item


def tsv_rows(stream: IO[bytes], name: str, encoding: str) -> Iterator[dict[str | None, Any]]:
    return csv_rows(stream, name, encoding, delimiter="\t")


def parquet_rows(stream: IO[bytes], name: str, encoding: str) -> Iterator[dict[str, Any]]:
    with FORMATS.entries["parquet"].installed(name):
        from pyarrow import ArrowException, parquet
    try:
        file = parquet.ParquetFile(stream, page_checksum_verification=True)
        _different(file.schema_arrow.names, name)
        number = 0
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            yield from _rows(batch, name, number)
            number += batch.num_rows
    except (ArrowException, OSError) as exc:
        raise ConfigError(f"{name} is damaged, or is not a Parquet file: {exc}") from exc


def _rows(batch: Any, name: str, number: int) -> list[dict[str, Any]]:
    try:
        for at, column in enumerate(batch.schema):
            if str(column.type) == "time64[ns]":  # which Python would be given without its nanoseconds
                batch = batch.set_column(at, column.name, batch.column(at).cast("time64[us]"))
        rows: list[dict[str, Any]] = batch.to_pylist()
    except Exception as exc:  # a value that Python has no type for: times out of range or finer than microseconds
        column, value = _unreadable(batch)
        raise ConfigError(
            f"{name}, rows {number:,} to {number + batch.num_rows - 1:,}: column {column!r} has {value} that Python "
            f"cannot hold: {exc}"
        ) from exc
    return rows


def _unreadable(batch: Any) -> tuple[str, str]:
    """Which column of a batch does not become Python values, and of which type it is."""
    for column in batch.schema:
        try:
            values = batch.column(column.name)
            (values.cast("time64[us]") if str(column.type) == "time64[ns]" else values).to_pylist()
        except Exception:  # noqa: BLE001 - the search is for what raises
            return column.name, str(column.type)
    return "?", "values"
