"""Results as a file of JSON Lines or Parquet, written piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from itertools import islice
from os import PathLike
from typing import Any

import msgspec

from manifold.errors import ConfigError, MissingExtra
from manifold.results.output import written
from manifold.words import a_type

_ROWS = 8192  # of one piece of a Parquet file


def to_jsonl(values: Iterable[Any], path: str | PathLike[str]) -> int:
    """Write one JSON value a line; the number of lines. Raises ConfigError for a value that JSON does not have."""
    number = 0
    encode = json.JSONEncoder(ensure_ascii=False, default=msgspec.to_builtins).encode
    with written(path) as file:
        for value in values:
            try:
                file.write(encode(value).encode("utf-8", "backslashreplace") + b"\n")
            except (TypeError, ValueError) as exc:
                raise ConfigError(f"result {number:,}, {a_type(value)}, is no JSON: {exc}") from exc
            number += 1
    return number


def to_parquet(values: Iterable[Any], path: str | PathLike[str]) -> int:
    """Write a Parquet file; the number of rows. `values` is iterated twice: for all columns' types, then to write."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as exc:
        raise MissingExtra(f'Parquet needs {exc.name!r}: pip install "airflow-manifold[parquet]"') from exc
    number = 0
    try:
        schema = pyarrow.schema([])
        for columns in _pieces(values):
            found = pyarrow.table(columns).schema
            schema = pyarrow.unify_schemas([schema, found], promote_options="permissive")
        with written(path) as file, parquet.ParquetWriter(file, schema) as writer:
            for columns in _pieces(values):
                rows = len(next(iter(columns.values())))
                arrays = [pyarrow.array(columns.get(one.name, [None] * rows), one.type) for one in schema]
                writer.write_table(pyarrow.table(arrays, schema=schema))
                number += rows
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError, OverflowError) as exc:
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
        return value if all(isinstance(name, str) for name in value) else {str(k): v for k, v in value.items()}
    return {"value": value}
