"""The scatters of the ledger as a list for people: filtered, sorted and paged by the database."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from sqlalchemy import Connection, String, and_, func, literal, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from manifold.ledger.rows import built, columns
from manifold.ledger.states import Condition, alive, condition, peoples, reason
from manifold.ledger.tables import control, scatter
from manifold.names import meant, parts_meant
from manifold.protocol.records import ScatterRow


class Visible(msgspec.Struct, frozen=True):
    """Whose scatters a reader may see: those of Airflow tasks of these DAGs, and perhaps those of plain Python."""

    dags: Collection[str]
    plain: bool


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which scatters are asked for, and in which order. `task` is (dag, run, task, map index), None for any;
    `system`: those of the deployment itself, too."""

    states: Collection[Condition] = ()
    search: str = ""
    engine: str = ""
    task: tuple[str | None, str | None, str | None, int | None] = (None, None, None, None)
    order: str = "created"
    descending: bool = True
    limit: int = 25
    offset: int = 0
    system: bool = False


class Listed(msgspec.Struct, frozen=True):
    """One scatter of the list. `key` is set for one of an Airflow task."""

    row: ScatterRow
    condition: Condition
    reason: str | None
    key: str | None


class first_part(FunctionElement[str]):
    """A name up to its first slash: the DAG, percent-quoted."""

    type = String()
    inherit_cache = True
    name = "first_part"


@compiles(first_part, "sqlite")
def _sqlite_first_part(element: first_part, compiler: SQLCompiler, **options: Any) -> str:
    name = compiler.process(element.clauses, **options)
    return f"substr({name}, 1, instr({name} || '/', '/') - 1)"


@compiles(first_part, "postgresql")
def _postgresql_first_part(element: first_part, compiler: SQLCompiler, **options: Any) -> str:
    return f"split_part({compiler.process(element.clauses, **options)}, '/', 1)"


def page(conn: Connection, now: ColumnElement[float], visible: Visible, wanted: Wanted) -> tuple[list[Listed], int]:
    """One page, and how many there are on all pages."""
    state = condition(now)
    fitting = and_(_seen(visible), *_filters(wanted, state))
    total = conn.execute(select(func.count()).select_from(scatter).where(fitting)).scalar_one()
    by = {
        "created": scatter.c.created_at,
        "name": scatter.c.name,
        "state": state,
        "engine": scatter.c.engine,
        "failed": scatter.c.n_failed,
    }[wanted.order]
    asked = (
        select(*columns(scatter, ScatterRow), state.label("condition"), reason(now), scatter.c.owner_key)
        .where(fitting)
        .order_by(by.desc() if wanted.descending else by, scatter.c.created_at.desc(), scatter.c.uid)
        .limit(wanted.limit)
        .offset(wanted.offset)
    )
    return [Listed(built(ScatterRow, row), *row[-3:]) for row in conn.execute(asked)], total


def changes(conn: Connection, now: ColumnElement[float], visible: Visible) -> tuple[Any, ...]:
    """What is another tuple after anything that the list shows has changed."""
    of = scatter.c
    living = func.count().filter(alive(now))
    sums = [func.sum(one) for one in (of.seq, of.epoch, of.n_failed, of.total, of.expected)]
    latest = [func.max(one) for one in (of.created_at, of.ended_at, of.lease_until)]
    requests = select(func.count(), func.max(control.c.at)).select_from(control)
    asked = select(func.count(), living, *sums, *latest).where(_seen(visible))
    return (*conn.execute(asked).one(), *conn.execute(requests).one())


def _seen(visible: Visible) -> ColumnElement[bool]:
    """What was never claimed is nobody's yet: it cannot be told whether an Airflow task made it."""
    of = scatter.c
    ways = [and_(of.owner_key.is_not(None), first_part(of.name).in_([quote(dag, safe="") for dag in visible.dags]))]
    if visible.plain:
        ways.append(of.owner_key.is_(None))
    return and_(of.epoch > 0, of.state != "replaced", or_(*ways))


def named(text: str) -> ColumnElement[bool]:
    """The SQL of: the name has this in it, or is this, as people write it or percent-quoted."""
    of = scatter.c
    parts = (of.name.icontains(one, autoescape=True) for one in parts_meant(text))
    return or_(*parts, of.name.in_(meant(text)))


def _filters(wanted: Wanted, state: ColumnElement[str]) -> list[ColumnElement[bool]]:
    of = scatter.c
    found: list[ColumnElement[bool]] = []
    if not wanted.system:
        found.append(or_(peoples(), of.uid == wanted.search))
    if wanted.states:
        found.append(state.in_(wanted.states))
    if wanted.engine:
        found.append(of.engine.icontains(wanted.engine, autoescape=True))
    if wanted.search:
        found.append(or_(of.uid == wanted.search, named(wanted.search)))
    if any(part is not None for part in wanted.task):
        found.append(of.owner_key.is_not(None))
        quoted = tuple(unquote(part) if isinstance(part, str) else part for part in wanted.task)
        patterns = {_pattern(wanted.task), _pattern(quoted)}
        found.append(or_(*(of.name.like(literal(one), escape="\\") for one in sorted(patterns))))
        if wanted.task[0] is not None:  # LIKE knows no capitals in SQLite
            found.append(first_part(of.name).in_({quote(str(dag), safe="") for dag in (wanted.task[0], quoted[0])}))
    return found


def _pattern(task: tuple[str | int | None, ...]) -> str:
    """A name has as many slashes as the pattern, so none of them is part of what a % stands for."""
    quoted = (None if part is None else quote(str(part), safe="") for part in task)
    escaped = (
        "%" if part is None else part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for part in quoted
    )
    return "/".join(escaped)
