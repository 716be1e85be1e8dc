"""Python values as columns of a Parquet file: widened where types mix, refused where something would be cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import pyarrow
from pyarrow import types

from manifold.errors import ConfigError

_ALIKE: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("datetime", datetime),  # before date, which it is one of
    ("date", date),
    ("time of day", time),
    ("duration", timedelta),
    ("text", str),
    ("bytes", (bytes, bytearray, memoryview)),
)


class Columns:
    """What the columns of a table hold, learnt from all of its pieces before the first is written.

    * Dates beside datetimes become datetimes at midnight; nanoseconds (of pandas) make the whole column have them.
    * Datetimes with a zone beside some without, times of day with a zone, and other mixtures that Arrow would settle by
      cutting something off, raise ConfigError with the column's name.
    """

    def __init__(self) -> None:
        self.schema = pyarrow.schema([])
        self._kinds: dict[str, set[str]] = {}

    def learn(self, columns: Mapping[str, list[Any]]) -> None:
        """Look at one piece."""
        for name, values in columns.items():
            self._kinds.setdefault(name, set()).update(_kinds(values, name))
        found = pyarrow.table({name: self._array(name, values, None) for name, values in columns.items()}).schema
        self.schema = pyarrow.unify_schemas([self._without_dates(found), found], promote_options="permissive")

    def table(self, columns: Mapping[str, list[Any]]) -> pyarrow.Table:
        """Return one piece as a table of the whole file's schema."""
        rows = len(next(iter(columns.values())))
        arrays = [self._array(field.name, columns.get(field.name, [None] * rows), field.type) for field in self.schema]
        return pyarrow.table(arrays, schema=self.schema)

    def _without_dates(self, found: pyarrow.Schema) -> pyarrow.Schema:
        """The schema so far, where a column of dates turns out to hold datetimes, too."""
        schema = self.schema
        for at, field in enumerate(schema):
            if found.get_field_index(field.name) >= 0 and types.is_date(field.type):
                other = found.field(field.name)
                schema = schema.set(at, other) if types.is_timestamp(other.type) else schema
        return schema

    def _array(self, name: str, values: list[Any], wanted: pyarrow.DataType | None) -> pyarrow.Array:
        kinds = self._kinds[name]
        _check(name, kinds)
        if kinds & {"missing time"}:
            values = [None if value is not None and _is_missing(value) else value for value in values]
        if "date" in kinds and kinds & {"datetime", "datetime with a zone"}:
            values = [_midnight(value) for value in values]
        if "nanoseconds" in kinds and wanted is None and any(isinstance(value, datetime) for value in values):
            zone = next((value.tzinfo for value in values if isinstance(value, datetime)), None)
            wanted = pyarrow.timestamp("ns", None if zone is None else str(zone))
        elif "nanoseconds" in kinds and wanted is None and any(isinstance(value, timedelta) for value in values):
            wanted = pyarrow.duration("ns")
        array = pyarrow.array(values, wanted)
        if types.is_nested(array.type) and _has_times(array.type):
            for value, back in zip(values, array.to_pylist(), strict=True):
                if not _agrees(value, back):
                    raise ConfigError(f"column {name!r}: {value!r} would be cut to {back!r}; take times of one kind")
        return array


def _kinds(values: Iterable[Any], name: str) -> set[str]:
    """The kinds of the values that must not be mixed without a thought; {"other"} for all else."""
    kinds: set[str] = set()
    for kind in set(map(type, values)):
        if kind is not type(None):
            kinds.add(next((word for word, alike in _ALIKE if issubclass(kind, alike)), "other"))
    if "datetime" in kinds:
        kinds.discard("datetime")
        kinds.update(_kinds_of_times(values))
    if "duration" in kinds and any(getattr(value, "nanoseconds", 0) for value in values):  # of pandas
        kinds.add("nanoseconds")
    if "time of day" in kinds and any(isinstance(value, time) and value.tzinfo is not None for value in values):
        raise ConfigError(f"column {name!r} has times of day with a zone, which Parquet cannot hold; take .isoformat()")
    return kinds


def _kinds_of_times(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, datetime):
            if _is_missing(value):
                yield "missing time"
                continue
            yield "datetime" if value.tzinfo is None else "datetime with a zone"
            if getattr(value, "nanosecond", 0):
                yield "nanoseconds"


def _check(name: str, kinds: set[str]) -> None:
    mixed = kinds - {"nanoseconds", "missing time"}
    if len(mixed) > 1 and mixed != {"date", "datetime"} and mixed != {"other"}:
        raise ConfigError(
            f"column {name!r} mixes {' and '.join(sorted(mixed))}, which would be cut to fit; make them of one kind, "
            "or take to_jsonl"
        )


def _is_missing(value: Any) -> bool:
    return bool(value != value)


def _midnight(value: Any) -> Any:
    return datetime.combine(value, time()) if isinstance(value, date) and not isinstance(value, datetime) else value


def _has_times(kind: pyarrow.DataType) -> bool:
    if types.is_nested(kind):
        return any(_has_times(kind.field(at).type) for at in range(kind.num_fields))
    return bool(types.is_temporal(kind))


def _agrees(value: Any, back: Any) -> bool:
    """`back` has all of the times in `value`."""
    if isinstance(value, (date, time, timedelta)):
        return isinstance(back, datetime) == isinstance(value, datetime) and bool(value == back)
    if isinstance(value, Mapping):
        return all(_agrees(inner, back.get(key)) for key, inner in value.items()) if isinstance(back, dict) else True
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and isinstance(back, list):
        return all(_agrees(*pair) for pair in zip(value, back, strict=False))
    return True
