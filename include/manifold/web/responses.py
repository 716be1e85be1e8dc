"""The ledger's rows as the API's models. Pure: times are those of the ledger's clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manifold import views
from manifold.airflow.link import task_page
from manifold.coordinator.controls import SETTINGS
from manifold.errors import ConfigError
from manifold.ledger import WorkerRow
from manifold.ledger.dashboard import SILENT, Pace, Ran, Recent
from manifold.ledger.rows import FailureRow, KindRow
from manifold.ledger.states import Standing
from manifold.names import name_parts
from manifold.policy import Policy, Tolerance
from manifold.protocol.records import ScatterRow
from manifold.redaction import masked
from manifold.web import heatmap, models

_MINUTE = 60.0

Flying = Sequence[tuple[int, int, int]]


def task(row: ScatterRow, key: str | None) -> models.Task | None:
    """The Airflow task instance that the scatter is of."""
    if key is None:
        return None
    dag_id, run_id, task_id, map_index = name_parts(row.name)
    return models.Task(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)


def scatter(
    row: ScatterRow,
    standing: Standing,
    key: str | None,
    *,
    flying: Flying,
    pace: Pace,
    worked: float | None,
    now: float,
    run_deleted: bool,
) -> models.Scatter:
    """One row of the list."""
    counted = counts(row, flying)
    of = task(row, key)
    return models.Scatter(
        **views.scatter(row, standing, run_deleted=run_deleted),
        uid=row.uid,
        task=of,
        counts=counted,
        rate=pace.rate,
        seconds_left=pace.seconds_left,
        duration=worked if worked is not None and row.epoch > 1 else max(0.0, (row.ended_at or now) - row.created_at),
        url=None if of is None else task_page(of.dag_id, of.run_id, of.task_id, of.map_index),
    )


def counts(row: ScatterRow, flying: Flying) -> models.Counts:
    """The account; what is sent again counts by the outcome that it has."""
    left = None if row.of is None else max(0, row.of - row.done)
    sent = heatmap.size(heatmap.union((start, stop) for layer, start, stop in flying if layer == 0))
    running = sent if left is None else min(sent, left)
    return models.Counts(
        succeeded=row.n_ok,
        failed=row.n_failed,
        skipped=row.n_skipped,
        running=running,
        pending=None if left is None else left - running,
        total=row.of,
        total_is_estimate=row.total is None and row.expected is not None,
    )


def curve(ran: Iterable[Ran], began: float, width: float, number: int) -> list[models.RatePoint]:
    """`number` points of `width` seconds. The items of a chunk lie evenly over the time that it ran.

    A chunk begins and ends somewhere within a stretch: of the first and the last one it is given half.
    """
    items, failed = [0.0] * number, [0.0] * number
    for one in ran:
        first, last = min(one.first, number - 1), min(one.last, number - 1)
        length = last - first
        for at in range(first, last + 1):
            share = 1.0 if not length else (0.5 if at in (first, last) else 1.0) / length
            items[at] += share * one.items
            failed[at] += share * one.failed
    whole = zip(_whole_numbers(items), _whole_numbers(failed), strict=True)
    return [
        models.RatePoint(at=began + at * width, seconds=width, items=done, failed=min(done, bad))
        for at, (done, bad) in enumerate(whole)
    ]


def _whole_numbers(parts: Iterable[float]) -> list[int]:
    """The same, rounded so that their sum stays what it is."""
    found, told, exact = [], 0, 0.0
    for part in parts:
        exact += part
        found.append(round(exact) - told)
        told += found[-1]
    return found


def item_seconds(newest: Iterable[Recent]) -> models.ItemSeconds | None:
    """Percentiles over the newest commits."""
    found = views.item_seconds((one.seconds / one.items, one.items) for one in newest if one.items)
    return None if found is None else models.ItemSeconds(**found)


def workers(
    rows: Sequence[WorkerRow], newest: Sequence[Recent], *, engine: str, coordinated: bool, now: float
) -> list[models.Worker]:
    """The workers, those that live first. `newest` are commits, the newest first, as far as they are known."""
    horizon = min(_MINUTE, newest[-1].ago) if newest else 0.0
    done: dict[str, int] = {}
    for one in newest:
        if one.ago <= horizon:
            done[one.worker] = done.get(one.worker, 0) + one.items
    found = []
    for row in rows:
        silent = max(0.0, now - row.last_seen)
        found.append(
            models.Worker(
                name=row.worker,
                host=row.host,
                pid=row.pid,
                engine=masked(engine),
                alive=coordinated and silent < SILENT,
                seconds_silent=silent,
                busy=len(row.holding) if coordinated else 0,
                items=row.items,
                chunks=row.chunks,
                rate=done.get(row.worker, 0) / horizon if coordinated and horizon > 0 else None,
            )
        )
    return sorted(found, key=lambda one: (not one.alive, one.seconds_silent > SILENT and one.seconds_silent, one.name))


def settings(policy: Mapping[str, Any], changes: Iterable[Mapping[str, Any]]) -> models.Settings:
    """What is in force: the options it was begun with, and what its coordinators were told since."""
    now: dict[str, Any] = {name: policy.get(name) for name in SETTINGS}
    now["tolerate"] = Tolerance(**(policy.get("tolerate") or {}))
    for name, value in (pair for one in changes for pair in one.items()):
        if name in SETTINGS:
            try:
                now[name] = getattr(Policy(**{name: value}), name)
            except ConfigError:
                continue  # the coordinator did not take it either
    tolerated = now["tolerate"]
    share = tolerated.share
    text = str(tolerated.count or 0) if share is None else f"{100 * share:g}%"
    return models.Settings(max_concurrency=now["max_concurrency"], rate_limit=now["rate_limit"], tolerate=text)


def kind(row: KindRow) -> models.Kind:
    return models.Kind(**views.error_kind(row))


def failure(row: FailureRow) -> models.Failure:
    names = models.Failure.model_fields
    return models.Failure(**{name: getattr(row, name) for name in names})
