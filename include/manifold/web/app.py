"""The FastAPI sub-app that Airflow's api-server mounts at `/manifold`: the API at `/api`, the bundle at `/static`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from manifold.errors import ConfigError, LedgerError, ManifoldError, StoreError
from manifold.text import visible
from manifold.web import deployment, models
from manifold.web.dependencies import NotModified
from manifold.web.guard import Guard, explain
from manifold.web.routes import controls, failures, scatters

STATIC = Path(__file__).parent / "static"

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    304: {"description": "Unchanged: `If-None-Match` has the present ETag"},
    400: {"model": models.Problem, "description": "A value that makes no sense"},
    401: {"model": models.Problem, "description": "No login"},
    403: {"model": models.Problem, "description": "The user may not"},
    404: {"model": models.Problem, "description": "There is none"},
    409: {"model": models.Problem, "description": "Not now"},
    413: {"model": models.Problem, "description": "A body that is too large"},
    422: {"model": models.Problem, "description": "A value that is not of its kind, or text that is not UTF-8"},
    503: {"model": models.Problem, "description": "The ledger, or the store, cannot be reached"},
}


@cache
def app() -> FastAPI:
    """The sub-app, one for each process. Nothing is opened before the first request."""
    made = FastAPI(
        title="Manifold",
        description="Scatters of Airflow tasks: how far they are, what failed, and how to steer them.",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    api = APIRouter(prefix="/api", responses=_PROBLEMS)
    for one in (scatters, failures, controls):
        api.include_router(one.router)
    made.include_router(api)
    if os.environ.get("MANIFOLD_METRICS") == "on":  # asked for: nobody gets multiples of every sum unawares
        from manifold.web.routes.metrics import router

        made.include_router(router)
    made.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")
    made.add_middleware(Guard)
    made.add_exception_handler(NotModified, _not_modified)
    made.add_exception_handler(RequestValidationError, explain)
    made.add_exception_handler(ManifoldError, _unavailable)
    return made


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    deployment.close()


async def _not_modified(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, NotModified)
    return Response(status_code=304, headers={"ETag": exc.etag, "Cache-Control": "private, no-cache"})


async def _unavailable(_: Request, exc: Exception) -> Response:
    """What Manifold's own errors say is for people, and has no secrets in it."""
    deployment.note(exc)
    away = isinstance(exc, (ConfigError, LedgerError, StoreError))
    return JSONResponse({"detail": visible(str(exc))}, status_code=503 if away else 500)
