"""What a person wants of a scatter: controls, and failed items again."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from manifold.web import models

router = APIRouter(tags=["steering"])


@router.post("/scatters/{uid}/controls", status_code=202)
def control(uid: models.Uid, wish: models.Control) -> models.Asked:
    """Write down a wish, which the scatter's coordinator sees to within two seconds."""
    raise HTTPException(501)


@router.post("/scatters/{uid}/redrive")
def redrive(uid: models.Uid, chosen: models.Redrive) -> models.Redriven:
    """Run failed items again: the Airflow task is cleared with the caller's own rights."""
    raise HTTPException(501)
