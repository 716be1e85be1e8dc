"""The scatter that a route is about: found in the ledger, and allowed to the user; or unchanged since they saw it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Response

from manifold.ledger import Ledger, dashboard
from manifold.ledger.dashboard import Glance
from manifold.protocol.records import ScatterRow
from manifold.web import deployment, responses, server
from manifold.web.models import Task, Uid
from manifold.web.rights import Rights, Who
from manifold.web.server import SessionDep


class NotModified(Exception):
    """The client has the present answer; the app makes a 304 of it."""

    def __init__(self, etag: str) -> None:
        self.etag = etag


class Found:
    """One scatter, as of the beginning of the request."""

    def __init__(self, ledger: Ledger, glance: Glance, who: Rights, *, run_deleted: bool) -> None:
        self.ledger = ledger
        self.glance = glance
        self.who = who
        self.run_deleted = run_deleted

    @property
    def uid(self) -> str:
        return self.row.uid

    @property
    def row(self) -> ScatterRow:
        return self.glance.row

    @property
    def task(self) -> Task | None:
        return responses.task(self.row, self.glance.key)

    @cached_property
    def may_read_logs(self) -> bool:
        return self.who.may_read_logs(self.task)

    @property
    def mark(self) -> tuple[Any, ...]:
        """Another one after anything of the scatter has changed."""
        return (*self.glance.mark, self.run_deleted)


def _found(uid: Uid, who: Who, session: SessionDep) -> Found:
    ledger = deployment.ledger()
    now = ledger.now()
    glance = ledger.database.read(lambda conn: dashboard.glance(conn, uid, now))
    if glance is None:
        raise HTTPException(404, f"the ledger has no scatter {uid}, or a fresh start has taken its place")
    task = responses.task(glance.row, glance.key)
    found = Found(ledger, glance, who, run_deleted=bool(server.deleted(session, [task])))
    if not who.may_see(found.task):
        of = "scatters of plain Python" if found.task is None else f"task instances of {found.task.dag_id}"
        raise HTTPException(403, f"{who.name} may not see {of}")
    return found


AnyScatter = Annotated[Found, Depends(_found)]
"""The scatter of the path; 404 where there is none, 403 where the user may not see it."""


def _changed(request: Request, response: Response, found: AnyScatter) -> Found:
    unless_unchanged(request, response, found.mark, found.who.may_steer(found.task), found.may_read_logs)
    return found


Scatter = Annotated[Found, Depends(_changed)]
"""The same for a GET: answered with 304 where `If-None-Match` has its present ETag."""


def unless_unchanged(request: Request, response: Response, *mark: Any) -> None:
    """Give the answer an ETag made of `mark`; raises NotModified where the client has that already."""
    digest = hashlib.sha256(repr((request.url.path, request.url.query, mark)).encode()).hexdigest()[:32]
    etag = f'W/"{digest}"'
    known = {one.strip() for one in request.headers.get("if-none-match", "").split(",")}
    if etag in known:
        raise NotModified(etag)
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "private, no-cache"  # kept, and asked about each time
