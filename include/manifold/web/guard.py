"""What no route answers: text that no database takes, requests that another site's page sent, values without sense.

A pure ASGI middleware sees to the first two, ahead of login and routes, so that a new parameter or route cannot forget
them; the handler makes a sentence for people of what the third is refused for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers

from manifold.visible import on_one_line

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_READING = ("GET", "HEAD", "OPTIONS")
_PORTS = {"http": 80, "https": 443}
_LESS_TELLING = ("extra_forbidden", "missing")
_SHOWN = 60  # characters of a refused value


class Guard:
    """Answers 422 to text that is no UTF-8 or holds NUL, and 403 to a change that another origin's page asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = _refusal(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            status, detail = refused
            await JSONResponse({"detail": detail}, status_code=status)(scope, receive, send)


def _refusal(scope: Scope) -> tuple[int, str] | None:
    asked = (("the path", scope.get("raw_path") or b""), *_parameters(scope.get("query_string") or b""))
    for name, raw in asked:
        if wrong := _unstorable(raw):
            return 422, f"{name} {wrong}; send text in UTF-8 without it"
    if "\0" in scope["path"]:
        return 422, "the path has the character NUL (%00), which no name here can have"
    if scope["method"] not in _READING and (detail := foreign(scope)):
        return 403, detail
    return None


def _parameters(query: bytes) -> Iterable[tuple[str, bytes]]:
    for pair in query.split(b"&"):
        name, _, _ = pair.partition(b"=")
        yield on_one_line(unquote_to_bytes(name).decode("utf-8", "replace"))[:_SHOWN] or "the query", pair


def _unstorable(raw: bytes) -> str | None:
    text = unquote_to_bytes(raw)
    if b"\0" in text:
        return "has the character NUL (%00), which no database keeps"
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        return f"is no UTF-8: {text[exc.start : exc.start + 1]!r} at byte {exc.start}"
    return None


def foreign(scope: Mapping[str, Any]) -> str | None:
    """Return why a request that changes something is refused, as one that another site's page sent; None if it is not.

    * `Sec-Fetch-Site`, which browsers send and no page can set, is believed.
    * Else the `Origin`, or the `Referer` in its place, must be that of Airflow's `[api] base_url`, or of the host that
      the browser asked for (`X-Forwarded-Host` of a proxy, or `Host`). Its scheme may differ where a proxy ends TLS.
    * Without any of them it is no browser's: a script, which has to bring a token.
    """
    headers = Headers(scope=scope)  # type: ignore[arg-type]
    site = headers.get("sec-fetch-site", "").strip().lower()
    origin = headers.get("origin") or _origin_of(headers.get("referer", ""))
    if site == "same-origin" or (not origin and site in ("", "none")):
        return None
    if not site and _is_own(origin, scope, headers):
        return None
    shown = on_one_line(origin)[:200] or "a page of another site"
    return (
        f"this request comes from {shown}, not from Airflow's own page, so nothing was changed. Behind a proxy, let it "
        "pass the Host header on, or set [api] base_url to the address that people open"
    )


def _is_own(origin: str, scope: Mapping[str, Any], headers: Headers) -> bool:
    if origin.lower() == _origin_of(_base_url()).lower():
        return True
    sent = _split(origin)
    if sent is None or (sent[0] == "http" and scope.get("scheme") == "https"):
        return False
    hosts = (headers.get("x-forwarded-host", "").split(",")[0].strip(), headers.get("host", ""))
    return sent in [_split(f"{sent[0]}://{host}") for host in hosts if host]


def _split(url: str) -> tuple[str, str, int | None] | None:
    """(scheme, host, port) of an URL; None for what is none, such as the origin `null`."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            return None
        return parts.scheme, parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme]
    except ValueError:
        return None


def _origin_of(url: str) -> str:
    """The origin of a URL; "" for what is none."""
    found = _split(url)
    if found is None:
        return ""
    scheme, host, port = found
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + ("" if port == _PORTS[scheme] else f":{port}")


def _base_url() -> str:
    from airflow.sdk.configuration import conf

    return str(conf.get("api", "base_url", fallback=None) or "")


async def explain(_: Request, exc: Exception) -> Response:
    """Answer 422 with a sentence that names each value and what is wrong with it.

    The values themselves are not repeated as they came: some, such as NaN or half of a surrogate pair, are no JSON.
    """
    assert isinstance(exc, RequestValidationError)
    return JSONResponse({"detail": sentence(exc.errors())}, status_code=422)


def sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return what pydantic found, as people read it: `limit: Input should be less than or equal to 1000`."""
    telling = [one for one in errors if one["type"] not in _LESS_TELLING] or errors
    found = dict.fromkeys(f"{_name(one['loc'])}{one['msg'].removeprefix('Value error, ')}" for one in telling)
    return on_one_line("; ".join(list(found)[:5])) or "the request has a value that makes no sense"


def _name(place: Sequence[str | int]) -> str:
    """The name of a value: without the part of the request that it is in, and the models that were tried for it."""
    names = [str(one)[:_SHOWN] for one in place if isinstance(one, int) or not one[:1].isupper()]
    named = [one for one in names[1:] if one not in ("set", "pause", "resume", "drain", "cancel")] or names[1:]
    return f"{'.'.join(named)}: " if named else ""
