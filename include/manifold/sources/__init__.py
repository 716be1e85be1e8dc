"""What goes in: lists, ranges, iterables, files, the results of another scatter.

`as_source` makes a source of whatever an author passes; `lines`, `records` and `zipped` make the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MappingView, Sequence, Set
from itertools import islice
from typing import Any

from manifold.abc import Source
from manifold.errors import ConfigError
from manifold.sources.combinators import FirstSource, ZippedSource
from manifold.sources.iterables import IterableSource, IteratorSource
from manifold.sources.sequences import RangeSource, SequenceSource
from manifold.text import a_type

__all__ = ["as_source", "first", "lines", "records", "take", "zipped"]


def lines(path: str | os.PathLike[str], *, encoding: str = "utf-8-sig") -> Source:
    """The lines of text files, without their line ends, empty ones included.

    Args:
        path: a path or glob that fsspec reads, such as `s3://bucket/urls/*.gz`. Packed files are unpacked (.gz, .bz2,
            .xz, .zip). Files are read in the order of their names; which ones is fixed at the first try.
        encoding: of the text; the default reads UTF-8 with and without a byte order mark.
    """
    from manifold.sources.files import FilesSource  # fsspec is needed from here on only

    return FilesSource(path, "lines", encoding)


def records(path: str | os.PathLike[str], format: str | None = None, *, encoding: str = "utf-8-sig") -> Source:
    """The records of CSV, JSON Lines or Parquet files: a dict each, or what a line of JSON holds.

    Args:
        path: as in `lines`.
        format: "csv", "tsv", "jsonl" or "parquet"; None goes by the suffix of each file (or of each member of a zip).
        encoding: as in `lines`.

    Raises:
        ConfigError: `format` is none of these. Whatever is wrong with the files shows when they are first needed.
    """
    from manifold.sources.files import FilesSource

    return FilesSource(path, format, encoding)


def zipped(**inputs: Any) -> Source:
    """Several inputs in step: tuples in the order of the keywords. Raises ConfigError if one ends before the others."""
    return ZippedSource({name: as_source(items) for name, items in inputs.items()})


def first(items: Any, n: int) -> Source:
    """The first `n` of these items, fewer at the end of the input."""
    return FirstSource(as_source(items), n)


def as_source(items: Any) -> Source:
    """The source of these items: a Source itself, a range, a sequence, `Results`, or anything that can be iterated.

    Raises:
        ConfigError: for a string, a mapping or a set, which might be meant otherwise, and for what yields nothing.
    """
    if isinstance(items, Source):
        return items
    if isinstance(items, range):
        return RangeSource(items)
    if (doubt := _doubtful(items)) is not None:
        raise ConfigError(f"items are {a_type(items)}: {doubt}")
    if hasattr(items, "as_source"):  # Results; asked like this, so that neither module needs the other
        source: Source = items.as_source()
        return source
    if isinstance(items, Sequence):
        return SequenceSource(items)
    if isinstance(items, Iterator):
        return IteratorSource(items)
    return IterableSource(items)


def take(items: Iterator[Any], n: int) -> list[Any]:
    """The next `n` items, fewer at the end."""
    return list(islice(items, n))


def _doubtful(items: Any) -> str | None:
    """Why these are not simply taken as items, and what to write instead."""
    if isinstance(items, (str, bytes, bytearray, os.PathLike)):
        return "write [items] for a single one, lines(path) or records(path) for what a file holds"
    if (rows := _rows_of(items)) is not None:
        return f"iterated, it does not give its rows as plain values; write {rows}"
    if getattr(items, "shape", None) == ():
        return "it has no dimension; write [items] for a single one"
    if isinstance(items, Mapping):
        return "write list(d) for its keys, or d.items() for pairs"
    if isinstance(items, Set) and not isinstance(items, MappingView):
        return "a set has no order that a later try could repeat; write sorted(items)"
    if not isinstance(items, Iterable):
        called = " Is it a function that should be called?" if callable(items) else ""
        return f"give a list, a range, an iterable, lines(path) or records(path).{called}"
    return None


def _rows_of(items: Any) -> str | None:
    """How a table's rows are written: of pandas, polars, Arrow, Dask, Spark and the like. None: it is not a table."""
    kind = type(items)
    if hasattr(kind, "read_all") and hasattr(kind, "schema"):  # Arrow's reader, an iterator of batches
        return "….read_all().to_pylist()"
    if hasattr(kind, "to_table") and hasattr(kind, "schema"):  # a dataset of Arrow's
        return "….to_table().to_pylist()"
    # An iterator gives what its author made it to give: a cursor has columns, too, and gives rows.
    of_a_table = any(hasattr(kind, name) for name in ("columns", "column_names", "to_pylist"))
    if isinstance(items, (Sequence, Iterator)) or not of_a_table:
        return None
    if hasattr(kind, "iter_rows"):
        return "df.iter_rows(named=True)"
    if hasattr(kind, "to_pylist"):
        return "….to_pylist()"
    if hasattr(kind, "compute"):
        return 'df.compute().to_dict("records")'
    if hasattr(kind, "toLocalIterator"):
        return "(row.asDict() for row in df.toLocalIterator())"
    return 'df.to_dict("records")' if hasattr(kind, "to_dict") else "a list of its rows"
