"""What the DAG `engines_compared` does beside its scatters: which engines answer, and what each job's scatter took.

Engines are named, never written out: a URL with a password would stand in XCom. "default" is the deployment's own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import Variable

from manifold import config
from manifold.airflow.configuration import configure, connections, default_engine
from manifold.engines.open import open_engine
from manifold.errors import ManifoldError
from manifold.ledger import open_ledger
from manifold.ledger.speed import read_speed
from manifold.redaction import masked
from manifold.registry import ENGINES
from manifold.results.results import Results

HERE = ("processes://2", "threads://2")
"""Engines of the task's own host, which every deployment has: what the others are seen against."""
COLUMNS = ("engine", "job", "items", "failed", "items_per_second", "chunk_seconds", "first_result", "lost", "trouble")
WHICH = "URLs and connection ids of the engines to compare, one a line. Without any: all that the deployment knows of."

_log = logging.getLogger(__name__)


def names() -> list[str]:
    """Return the engines that the deployment knows of.

    They are its own, the connections of the environment, those of the Airflow variable `manifold_engines`, and `HERE`.
    """
    configure()
    known = [*connections(ENGINES), *Variable.get("manifold_engines", default=[], deserialize_json=True), *HERE]
    own = [] if default_engine() in known else ["default"]
    return list(dict.fromkeys([*own, *map(str, known)]))


def look(engines: Iterable[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """Return the engines that would run a chunk now, and why the other ones would not, by name.

    Args:
        engines: names to look at; None: all that `names` gives.
    """
    configure()
    answering: list[str] = []
    others: dict[str, str] = {}
    for name in engines or names():
        if masked(name) != name:
            others[masked(name)] = "its URL has a password, which would stand in XCom: make a connection of it"
        elif trouble := _trouble(name):
            others[name] = trouble
        else:
            answering.append(name)
    for name, why in others.items():
        _log.warning("%s is left out: %s", name, why)
    return answering, others


def measured(engine: str, **results: Results | None) -> list[dict[str, Any]]:
    """Return one row of the table for each job, as JSON has it.

    Args:
        results: by the job's name; None where its task has not come as far as the ledger.
    """
    configure()
    rows = []
    ledger = open_ledger()
    for job, handle in results.items():
        if handle is None or not ledger.scatters(uid_prefix=handle.uid, limit=1):
            rows.append(_row(engine, job, "its task failed before it had begun: see the task's log"))
            continue
        speed = read_speed(ledger, handle.uid)
        trouble = None if speed.row.state == "succeeded" else speed.row.message or speed.row.state
        rows.append(
            _row(engine, job, trouble)
            | {"items": speed.row.done, "failed": speed.row.n_failed, "lost": speed.lost}
            | {"items_per_second": _short(speed.rate), "chunk_seconds": _short(speed.chunk_seconds)}
            | {"first_result": _short(speed.first_result)}
        )
    return rows


def table(measures: Iterable[Any], others: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the whole table: a job's engines one below the other, the fastest first, and then who did not answer.

    Args:
        measures: what `measured` has returned for each engine; of one engine alone Airflow gives its rows themselves.
        others: why the others do not answer.
    """
    flat = [dict(row) for each in measures for row in ([each] if isinstance(each, Mapping) else each)]
    flat.sort(key=lambda row: (row["job"], -(row["items_per_second"] or 0)))
    return flat + [_row(name, None, why) for name, why in others.items()]


def lines(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """Return the table as lines of a CSV file, its head first; what is not known is empty."""
    values = ([row[name] for name in COLUMNS] for row in rows)
    return [[*COLUMNS], *([_cell(value) for value in row] for row in values)]


def _cell(value: Any) -> Any:
    return "" if value is None else " ".join(value.replace(",", ";").split()) if isinstance(value, str) else value


def _trouble(name: str) -> str | None:
    """Why nothing would run there; None where it would."""
    try:
        with open_engine(config.resolve(default_engine() if name == "default" else name)) as engine:
            return engine.check()
    except ManifoldError as exc:
        return str(exc)


def _row(engine: str, job: str | None, trouble: str | None) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS) | {"engine": engine, "job": job, "trouble": trouble}


def _short(value: float | None) -> float | None:
    """Four digits are what such a figure is worth."""
    return None if value is None else float(f"{value:.4g}")
