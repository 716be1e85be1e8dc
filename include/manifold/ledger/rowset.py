"""Many rows as one parameter of one statement: a JSON list that the database takes apart.

A statement over rows has one text, however many there are: it is built and compiled once, planned once per execution,
and costs one round trip. Bound one by one, the columns of the rows would cost more than all else in a commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import String, Text, any_, bindparam, cast, column, func, literal_column, select, type_coerce
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.schema import Table

from manifold.text import storable_all

ROWS = "rows"
"""The name of the parameter; its value is made by `packed`."""


def packed(rows: Sequence[Any]) -> str:
    """Return structs or dicts, or plain values, as the value of the parameter. Text in them is made `storable`."""
    try:
        data = msgspec.json.encode(rows)
        if b"\\u0000" not in data:
            return data.decode()
    except UnicodeEncodeError:
        pass  # a lone surrogate
    return msgspec.json.encode(storable_all(msgspec.to_builtins(rows))).decode()


@cache
def rowset(dialect: str, table: Table, names: Iterable[str]) -> FromClause:
    """Return the rows of the parameter to select from, with columns named and typed as those of `table`."""
    if dialect == "postgresql":
        columns = (column(name, table.c[name].type) for name in names)
        given = cast(bindparam(ROWS, type_=Text), postgresql.JSON)
        return func.json_to_recordset(given).table_valued(*columns, name="given").render_derived(with_types=True)
    one = func.json_each(bindparam(ROWS, type_=Text)).table_valued("value", name="one")
    found = {name: func.json_extract(one.c.value, literal_column(f"'$.{name}'")) for name in names}
    return select(*(type_coerce(value, table.c[name].type).label(name) for name, value in found.items())).subquery(
        "given"
    )


def is_one_of(dialect: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that the column is one of the parameter's texts, which `texts` makes."""
    if dialect == "postgresql":
        return column == any_(bindparam(ROWS, type_=postgresql.ARRAY(String)))  # of which the planner sees the length
    return column.in_(select(func.json_each(bindparam(ROWS, type_=Text)).table_valued("value", name="given").c.value))


def texts(dialect: str, given: Sequence[str]) -> object:
    """Return the value of the parameter of `is_one_of`."""
    return given if dialect == "postgresql" else packed(given)
