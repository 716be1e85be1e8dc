"""Which DAG runs are not in Airflow any more, by its own tables; `airflow` itself is not imported for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from sqlalchemy import Connection, column, select, table, tuple_

T = TypeVar("T")
Run = tuple[str, str]
"""dag_id and run_id."""

TEMPORARY = "__airflow_temporary_run_"
"""How the id begins of a run that `airflow tasks test` makes, and deletes when its task has ended."""

_AT_ONCE = 400
_RUNS = table("dag_run", column("dag_id"), column("run_id"))
_DAGS = table("dag", column("dag_id"))


def deleted_runs(conn: Connection, runs: Iterable[Run]) -> set[Run]:
    """Return those of `runs` that Airflow's database does not hold."""
    wanted = set(runs)
    of = tuple_(_RUNS.c.dag_id, _RUNS.c.run_id)
    there = (row for some in _batches(wanted) for row in conn.execute(select(_RUNS).where(of.in_(some))))
    return wanted - {(dag, run) for dag, run in there}


def known_dags(conn: Connection, dags: Iterable[str]) -> set[str]:
    """Return those of `dags` that Airflow's database holds."""
    some = _batches(set(dags))
    return {str(row[0]) for one in some for row in conn.execute(select(_DAGS).where(_DAGS.c.dag_id.in_(one)))}


def surely_deleted(runs: Iterable[Run], gone: Collection[Run], knows: Callable[[set[str]], set[str]]) -> set[Run]:
    """Return those of `gone` that this Airflow has deleted, and not those that another one has.

    Several Airflows may share a ledger, and a stray configuration may name an empty database. So a run counts as
    deleted where this Airflow has its DAG, or any other run of the ledger's; `knows` says which DAGs it has.
    """
    if any(run not in gone for run in runs):
        return set(gone)
    dags = knows({dag for dag, _ in gone}) if gone else set()
    return {(dag, run) for dag, run in gone if dag in dags}


def _batches(values: Collection[T]) -> Iterator[list[T]]:
    listed = list(values)
    for first in range(0, len(listed), _AT_ONCE):
        yield listed[first : first + _AT_ONCE]
