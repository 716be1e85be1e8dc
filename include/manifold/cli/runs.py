"""Which scatters' DAG runs were deleted in Airflow: asked of its API or its database, where one can be reached."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from manifold.airflow.deleted import TEMPORARY, Run, deleted_runs, known_dags, surely_deleted
from manifold.cli import out
from manifold.cli.airflow_api import Api
from manifold.cli.context import in_airflow, task_of
from manifold.cli.exits import Unreachable
from manifold.ledger.states import LIVE
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from manifold.ledger import Ledger

_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_PATIENCE = 5  # seconds for a database that does not answer


def of_deleted_runs(ledger: Ledger, rows: Iterable[ScatterRow], *, thorough: bool = False) -> set[str]:
    """Return the uids of those scatters that no coordinator works on and whose DAG run Airflow has deleted.

    Where Airflow cannot be asked, these are the runs of `airflow tasks test`, which always end so.

    Args:
        thorough: import Airflow to find its database, if need be, which takes seconds.
    """
    tasks = {row.uid: task for row in rows if (task := _idle_task(ledger, row)) is not None}
    runs = {uid: (dag, run) for uid, (dag, run, _, _) in tasks.items()}
    temporary = {run for run in runs.values() if run[1].startswith(TEMPORARY)}
    gone = temporary | _asked(set(runs.values()) - temporary, thorough=thorough)
    return {uid for uid, run in runs.items() if run in gone}


def _idle_task(ledger: Ledger, row: ScatterRow) -> tuple[str, str, str, int] | None:
    if row.name.count("/") != 3 or ledger.state(row.uid).state in LIVE:
        return None
    return task_of(ledger, row)


def _asked(runs: set[Run], *, thorough: bool) -> set[Run]:
    """Those of `runs` that the Airflow of this place says it has deleted; none where it does not answer."""
    if not runs:
        return set()
    try:
        if api := Api.from_environment():
            gone = {run for run in runs if not api.has_run(*run)}
            return surely_deleted(runs, gone, lambda dags: {dag for dag in dags if api.has_dag(dag)})
        with _database(thorough=thorough) as conn:
            if conn is None:
                return set()
            return surely_deleted(runs, deleted_runs(conn, runs), _of(conn))
    except Unreachable as exc:
        out.note(f"whether their DAG runs still exist is not known: {exc}")
        return set()


def _of(conn: Connection) -> Callable[[set[str]], set[str]]:
    return lambda dags: known_dags(conn, dags)


@contextmanager
def _database(*, thorough: bool) -> Iterator[Connection | None]:
    """Airflow's own database; None where this place knows none. Raises Unreachable where it does not answer."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import SQLAlchemyError

    url = _database_url(thorough=thorough)
    if url is None:
        yield None
        return
    try:
        where = make_url(url)
        waits = {"connect_timeout": _PATIENCE} if where.get_backend_name() in ("postgresql", "mysql") else {}
        engine = create_engine(where, connect_args=waits)
        try:
            with engine.connect() as conn:
                yield conn
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as exc:
        raise Unreachable(f"Airflow's database did not answer: {str(exc).partition(chr(10))[0]}") from exc


def _database_url(*, thorough: bool) -> str | None:
    url = os.environ.get(_VARIABLE)
    if not url and in_airflow() and (thorough or "airflow" in sys.modules):
        from airflow.sdk.configuration import conf

        url = conf.get("database", "sql_alchemy_conn", fallback=None)
    if not url:
        return None
    kind, _, path = url.partition(":///")
    # To connect to a file that is not there would make it.
    return None if kind.startswith("sqlite") and not Path(path).is_file() else url
