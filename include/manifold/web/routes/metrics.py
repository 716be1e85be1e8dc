"""Prometheus' metrics on the api-server, where the deployment has switched them on: sums of all scatters, no names."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Response

from manifold.monitors.prometheus import Page
from manifold.web import deployment

router = APIRouter()


@cache
def _page() -> Page:
    return Page(deployment.ledger)


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """The figures as they are now, in Prometheus' text format. Without login, as Prometheus asks for them."""
    return Response(_page().render(), media_type=Page.content_type)
