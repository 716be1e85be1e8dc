"""The list of scatters, and one of them with its plots."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection, select

from manifold import views
from manifold.control_requests import coordinator
from manifold.ledger import Ledger, dashboard, listing, quarantine
from manifold.ledger.listing import Listed, Visible, Wanted
from manifold.ledger.states import LIVE, Standing
from manifold.ledger.tries import read_tries, worked
from manifold.protocol.records import TERMINAL, ScatterRow
from manifold.web import deployment, heatmap, models, responses, server
from manifold.web.cache import remembered
from manifold.web.dependencies import Found, Scatter, unless_unchanged
from manifold.web.rights import Who
from manifold.web.server import SessionDep
from manifold.web.timeline import bars

router = APIRouter(tags=["scatters"])

_NEWEST = 1000  # commits that rate and item times are told by; a row of the list takes less
_NEWEST_OF_MANY = 200
_KINDS, _WORKERS, _SUSPECTS = 100, 500, 100
_SHORTEST = 0.05  # seconds of a point of the rate: what took no longer has two of them

Name = Annotated[str | None, Query(max_length=250)]


@router.get("/scatters")
def scatters(
    request: Request,
    response: Response,
    who: Who,
    session: SessionDep,
    state: Annotated[list[models.Filter] | None, Query(description="One or several.")] = None,
    search: Annotated[
        str | None, Query(max_length=200, description="Any part of the name, which has DAG, run and task; or a uid.")
    ] = None,
    engine: Annotated[str | None, Query(max_length=200, description="Any part of the engine's URL.")] = None,
    dag_id: Name = None,
    run_id: Name = None,
    task_id: Name = None,
    map_index: Annotated[int | None, Query(ge=-1, lt=2**31)] = None,
    system: Annotated[
        bool, Query(description="Those of the deployment itself too, such as checks of its health.")
    ] = False,
    sort: models.Sort = "-created",
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> models.Scatters:
    """The scatters that the reader may see."""
    ledger, visible = deployment.ledger(), who.visible()
    now = ledger.now()
    mark = ledger.database.read(lambda conn: listing.changes(conn, now, visible))
    wanted = Wanted(
        states=sorted({"stopped" if one == "stalled" else one for one in state or ()}),
        search=search or "",
        engine=engine or "",
        task=(dag_id, run_id, task_id, map_index),
        order=sort.removeprefix("-"),
        descending=sort.startswith("-"),
        limit=limit,
        offset=offset,
        system=system,
    )

    seen = tuple(sorted(visible.dags)), visible.plain
    # Airflow changes without the ledger: its answer is part of the ETag, and what to ask it is known as long as the
    # ledger has not changed.
    runs = remembered.get(("runs", request.url.query, seen), mark, lambda: _tasks(ledger, visible, wanted))
    gone = server.deleted(session, runs)
    unless_unchanged(request, response, mark, *seen, sorted(gone))

    def read(conn: Connection) -> models.Scatters:
        time = conn.execute(select(now)).scalar_one()
        found, total = listing.page(conn, now, visible, wanted)
        running = [one.row.uid for one in found if one.row.state not in TERMINAL]
        flying = dashboard.in_flight(conn, running) if running else {}
        took = worked(conn, [one.row.uid for one in found], time)
        rows = [_row(conn, one, flying.get(one.row.uid, []), took.get(one.row.uid), now, time, gone) for one in found]
        return models.Scatters(scatters=rows, total=total)

    return ledger.database.read(read)


def _tasks(ledger: Ledger, visible: Visible, wanted: Wanted) -> list[models.Task | None]:
    """The tasks of the scatters on a page of the list."""
    found, _ = ledger.database.read(lambda conn: listing.page(conn, ledger.now(), visible, wanted))
    return [responses.task(one.row, one.key) for one in found]


def _row(
    conn: Connection,
    one: Listed,
    flying: responses.Flying,
    took: float | None,
    now: Any,
    time: float,
    gone: Collection[tuple[str, str]],
) -> models.Scatter:
    pace = dashboard.pace(conn, one.row, one.condition, now, limit=_NEWEST_OF_MANY)
    standing = Standing(one.condition, one.reason)
    task = responses.task(one.row, one.key)
    deleted = task is not None and (task.dag_id, task.run_id) in gone
    return responses.scatter(
        one.row, standing, one.key, flying=flying, pace=pace, worked=took, now=time, run_deleted=deleted
    )


@router.get("/scatters/{uid}")
def scatter(found: Scatter) -> models.ScatterDetail:
    """One scatter."""
    ledger, uid, mark = found.ledger, found.uid, found.mark
    now = ledger.now()
    speculates = bool(found.row.policy.get("speculate"))

    def read(conn: Connection) -> dict[str, Any]:
        glance = dashboard.glance(conn, uid, now) or found.glance
        row, time = glance.row, conn.execute(select(now)).scalar_one()
        flying = dashboard.in_flight(conn, [uid]).get(uid, [])
        newest = dashboard.newest(conn, uid, now, _NEWEST)
        pace = dashboard.pace(conn, row, glance.condition, now, limit=_NEWEST, commits=newest)
        standing = Standing(glance.condition, glance.reason)
        took, deleted = worked(conn, [uid], time).get(uid), found.run_deleted
        told = responses.scatter(
            row, standing, glance.key, flying=flying, pace=pace, worked=took, now=time, run_deleted=deleted
        ).model_dump()
        tally = remembered.get(("tally", uid), mark, lambda: dashboard.tally(conn, uid, speculates=speculates))
        kinds = remembered.get(("kinds", uid), mark, lambda: quarantine.kinds(conn, uid, _KINDS))
        alive = len(heatmap.innermost((start, stop) for _, start, stop in flying))
        workers = responses.workers(
            dashboard.workers(conn, uid, _WORKERS),
            newest,
            engine=row.engine,
            coordinated=glance.condition in LIVE,
            now=time,
        )
        return told | {
            "item_seconds": responses.item_seconds(newest),
            "tries": row.epoch,
            "history": [models.Try(**views.try_(one)) for one in read_tries(conn, uid, time)],
            "coordinator": coordinator(row, time),
            "policy": views.options(row.policy),
            "settings": responses.settings(row.policy, dashboard.settings_in_force(conn, uid)),
            "chunks": models.Chunks(
                committed=tally.committed,
                in_flight=alive,
                lost=max(0, tally.unsettled - alive),
                speculative=tally.speculative,
            ),
            "errors": [responses.kind(one) for one in kinds],
            "workers": workers,
        }

    told = ledger.database.read(read)
    suspects = ledger.suspects(uid)
    asked = [models.ControlRequest(no=row.no, **views.control_request(row)) for row in ledger.pending_controls(uid)]
    return models.ScatterDetail(
        **told,
        paused_by=ledger.paused_by(uid),
        control_requests=asked,
        wishes=asked,
        suspects=[models.Span(start=one.start, stop=one.stop) for one in suspects[:_SUSPECTS]],
        suspects_total=len(suspects),
        may=models.May(steer=found.who.may_steer(found.task)),
    )


@router.get("/scatters/{uid}/rate")
def rate(found: Scatter, points: Annotated[int, Query(ge=2, le=500)] = 120) -> models.Rate:
    """How many items came to an outcome over time, in at most so many points."""

    def read(conn: Connection) -> models.Rate:
        row = found.row
        ended = _last_moment(conn, found)
        width = max(_SHORTEST, (ended - row.created_at) / points)
        number = min(points, max(2, math.ceil((ended - row.created_at) / width)))
        ran = dashboard.ran(conn, found.uid, row.created_at, width)
        if found.glance.condition in LIVE and (now := dashboard.running(conn, found.uid, found.ledger.now())):
            last = ended - now.ago - row.created_at
            ran.append(dashboard.Ran(int(max(0.0, last - now.seconds) / width), int(last / width), int(now.items), 0))
        return models.Rate(points=responses.curve(ran, row.created_at, width, number))

    return remembered.get(("rate", found.uid, points), found.mark, lambda: found.ledger.database.read(read))


def _last_moment(conn: Connection, found: Found) -> float:
    """Until when there is something to plot: now, as long as somebody is at work on it."""
    row: ScatterRow = found.row
    if found.glance.condition in LIVE:
        return float(conn.execute(select(found.ledger.now())).scalar_one())
    return row.ended_at or dashboard.last_commit(conn, row.uid) or row.created_at


@router.get("/scatters/{uid}/map")
def heat_map(found: Scatter, cells: Annotated[int, Query(ge=1, le=2000)] = 400) -> models.Map:
    """What became of the whole input, in at most so many cells."""

    def read(conn: Connection) -> models.Map:
        met = dashboard.furthest(conn, found.uid)
        total = met if found.row.of is None else max(met, found.row.of)
        width = max(1, -(-total // cells))
        sums, pieces = dashboard.cells(conn, found.uid, width)
        flying = dashboard.in_flight(conn, [found.uid]).get(found.uid, [])
        base = [(start, stop) for layer, start, stop in flying if layer == 0]
        return models.Map(cells=heatmap.cells(total, width, sums, pieces, base), total=total)

    return remembered.get(("map", found.uid, cells), found.mark, lambda: found.ledger.database.read(read))


@router.get("/scatters/{uid}/timeline")
def timeline(found: Scatter, limit: Annotated[int, Query(ge=1, le=5000)] = 1000) -> models.Timeline:
    """The latest sendings of chunks, with who ran them and when."""

    def read() -> models.Timeline:
        sent = found.ledger.database.read(lambda conn: dashboard.sendings(conn, found.uid, limit))
        return models.Timeline(bars=bars(sent, found.glance, limit), more=len(sent) >= limit)

    return remembered.get(("timeline", found.uid, limit), found.mark, read)
