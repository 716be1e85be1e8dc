"""The failed items of a scatter."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse

from manifold.web import models

router = APIRouter(tags=["failures"])
OfKind = Annotated[models.Fingerprint | None, Query(description="Only those of this kind.")]
Search = Annotated[
    str | None, Query(max_length=200, description="Any part of key, message or item; or a position, exactly.")
]


@router.get("/scatters/{uid}/errors")
def errors(uid: models.Uid) -> models.Errors:
    """The kinds of errors, each with a traceback and some items."""
    raise HTTPException(501)


@router.get("/scatters/{uid}/failures")
def failures(
    uid: models.Uid,
    fingerprint: OfKind = None,
    search: Search = None,
    after: Annotated[int, Query(ge=-1, lt=2**63)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> models.Failures:
    """The items that are failed now, past position `after`."""
    raise HTTPException(501)


@router.get("/scatters/{uid}/failures.jsonl", response_class=StreamingResponse)
def export(uid: models.Uid, fingerprint: OfKind = None) -> StreamingResponse:
    """All of them, a line of JSON each, as `manifold failed --export` writes them."""
    raise HTTPException(501)


@router.get("/scatters/{uid}/failures/{pos}")
def failure(uid: models.Uid, pos: models.Position) -> models.FailureDetail:
    """One failed item, with its whole traceback and its log lines."""
    raise HTTPException(501)
