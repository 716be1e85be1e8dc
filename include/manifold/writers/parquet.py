"""Results as a Parquet file, written piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from itertools import islice
from os import PathLike
from typing import Any

from manifold.errors import ConfigError
from manifold.registry import FORMATS
from manifold.writers._atomic import written

_ROWS = 8192  # of one piece of a Parquet file


def to_parquet(values: Iterable[Any], path: str | PathLike[str]) -> int:
    """Write a Parquet file; the number of rows. `values` is iterated twice: for all columns' types, then to write."""
    with FORMATS.entries["parquet"].installed("Parquet"):
        import pyarrow
        from pyarrow import parquet

        from manifold.writers._columns import Columns
    number, columns = 0, Columns()
    try:
        for piece in _pieces(values):
            columns.learn(piece)
        with written(path) as file, parquet.ParquetWriter(file, columns.schema) as writer:
            for piece in _pieces(values):
                table = columns.table(piece)
                writer.write_table(table)
                number += table.num_rows
    except ConfigError:
        raise
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as exc:
        raise ConfigError(f"the results do not fit the columns of a Parquet file: {exc}. Try to_jsonl") from exc
    return number


def _pieces(values: Iterable[Any]) -> Iterator[dict[str, list[Any]]]:
    """The values as columns, some thousand rows at a time."""
    rows = iter(values)
    while piece := [_row(value) for value in islice(rows, _ROWS)]:
        # In the order in which they first appear.
        names = dict.fromkeys(name for row in piece for name in row)
        yield {name: [row.get(name) for row in piece] for name in names}


def _row(value: Any) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, dict) and value:
        row = value if all(isinstance(name, str) for name in value) else {str(k): v for k, v in value.items()}
        if len(row) < len(value):
            raise ConfigError(f"two keys of {list(value)!r} have the same text, so they cannot both be columns")
        return row
    return {"value": value}
