"""The failed items of a scatter."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import Connection

from manifold.errors import ConfigError
from manifold.ledger import quarantine as rows
from manifold.web import models, quarantine, requests, responses
from manifold.web.cache import remembered
from manifold.web.dependencies import AnyScatter, Scatter

router = APIRouter(tags=["failures"])

_KINDS, _SAMPLES = 50, 3

OfKind = Annotated[requests.Fingerprint | None, Query(description="Only those of this kind.")]


@router.get("/scatters/{uid}/errors")
def errors(found: Scatter) -> models.Errors:
    """The kinds of errors, each with a traceback and some items."""

    def read(conn: Connection) -> models.Errors:
        kinds = rows.kinds(conn, found.uid, _KINDS + 1)
        told = []
        for kind in kinds[:_KINDS]:
            some = rows.search(conn, found.uid, after=-1, limit=_SAMPLES, fingerprint=kind.fingerprint).failures
            samples = [responses.failure(one) for one in some]
            told.append(
                models.KindDetail(**responses.kind(kind).model_dump(), traceback=kind.traceback, samples=samples)
            )
        return models.Errors(kinds=told, more=len(kinds) > _KINDS)

    told = remembered.get(("errors", found.uid), found.mark, lambda: found.ledger.database.read(read))
    if found.may_read_logs:
        return told
    return models.Errors(kinds=[kind.model_copy(update={"traceback": ""}) for kind in told.kinds], more=told.more)


@router.get("/scatters/{uid}/failures")
def failures(
    found: Scatter,
    fingerprint: OfKind = None,
    search: Annotated[
        str | None, Query(max_length=200, description="Any part of key, type, message or item; or a position.")
    ] = None,
    after: Annotated[int, Query(ge=-1, lt=2**53)] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> models.Failures:
    """The items that are failed now, past position `after`."""
    page = found.ledger.database.read(
        lambda conn: rows.search(conn, found.uid, after=after, limit=limit, fingerprint=fingerprint, text=search)
    )
    told = [responses.failure(one) for one in page.failures]
    return models.Failures(failures=told, next=told[-1].pos if page.more else None)


@router.get(
    "/scatters/{uid}/failures.jsonl",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}},
)
def export(found: AnyScatter, fingerprint: OfKind = None) -> StreamingResponse:
    """All of them, a line of JSON each, as `manifold failed --export` writes them.

    `value` is the item where it is made of plain values; any other would have to run its own code here.
    """
    if not found.may_read_logs:
        raise HTTPException(403, f"{found.who.name} may not read the logs of this task, of which tracebacks are a part")
    try:
        lines = quarantine.export(found.ledger, found.row, fingerprint)
    except ConfigError as exc:
        raise HTTPException(409, f"the failed items of {found.row.title} cannot be read from here: {exc}") from exc
    name = f"failures-{found.uid}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type="application/jsonl", headers=headers)


@router.get("/scatters/{uid}/failures/{pos}")
def failure(found: Scatter, pos: requests.Position) -> models.FailureDetail:
    """One failed item, with its whole traceback and its log lines."""
    failed = found.ledger.database.read(lambda conn: rows.failed_at(conn, found.uid, pos))
    if failed is None:
        raise HTTPException(404, f"item {pos:,} of {found.row.title} is not failed (any more)")
    if not found.may_read_logs:
        refused = f"{found.who.name} may not read the logs of this task, of which traceback and lines are a part."
        shown = responses.failure(failed).model_dump()
        return models.FailureDetail(**shown, traceback="", lines=[], note=refused, amiss=True)
    found_out = quarantine.detail(found.ledger, found.row, failed)
    return models.FailureDetail(
        **responses.failure(failed).model_dump(),
        traceback=found_out.traceback,
        lines=[models.Line(level=line.level, text=line.text) for line in found_out.lines],
        note=found_out.note,
        amiss=found_out.amiss,
    )
