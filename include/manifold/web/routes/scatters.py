"""The list of scatters, and one of them with its plots."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from manifold.web import models

router = APIRouter(tags=["scatters"])
Search = Annotated[str | None, Query(max_length=200, description="Any part of the name, which has DAG, run and task.")]
Name = Annotated[str | None, Query(max_length=250)]


@router.get("/scatters")
def scatters(
    state: Annotated[list[models.State] | None, Query(description="One or several.")] = None,
    search: Search = None,
    engine: Annotated[str | None, Query(max_length=200, description="Any part of the engine's URL.")] = None,
    dag_id: Name = None,
    run_id: Name = None,
    task_id: Name = None,
    map_index: Annotated[int | None, Query(ge=-1)] = None,
    sort: models.Sort = "-created",
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> models.Scatters:
    """The scatters that the reader may see."""
    raise HTTPException(501)


@router.get("/scatters/{uid}")
def scatter(uid: models.Uid) -> models.ScatterDetail:
    """One scatter."""
    raise HTTPException(501)


@router.get("/scatters/{uid}/rate")
def rate(uid: models.Uid, points: Annotated[int, Query(ge=2, le=500)] = 120) -> models.Rate:
    """How many items came to an outcome over time, in at most so many points."""
    raise HTTPException(501)


@router.get("/scatters/{uid}/map")
def heat_map(uid: models.Uid, cells: Annotated[int, Query(ge=1, le=2000)] = 400) -> models.Map:
    """What became of the whole input, in at most so many cells."""
    raise HTTPException(501)


@router.get("/scatters/{uid}/timeline")
def timeline(uid: models.Uid, limit: Annotated[int, Query(ge=1, le=5000)] = 1000) -> models.Timeline:
    """The latest sendings of chunks, with who ran them and when."""
    raise HTTPException(501)
