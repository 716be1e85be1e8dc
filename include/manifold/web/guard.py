"""What no route answers: text that no database takes, requests that another site's page sent or that are too large,
values without sense.

A pure ASGI middleware sees to all but the last, ahead of login and routes, so that a new parameter or route cannot
forget them; the handler makes a sentence for people of what the last is refused for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers

from manifold.text import on_one_line

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READING = ("GET", "HEAD", "OPTIONS")
_PORTS = {"http": 80, "https": 443}
_LESS_TELLING = ("extra_forbidden", "missing")
_LARGEST = 64 * 1024  # bytes of a request's body; a thousand positions, the largest one, are a third of it
_SHOWN = 60  # characters of a refused value


class Guard:
    """Answers 422 to text that is not UTF-8 or holds NUL, 403 to a change that another origin's page asks for, and 413
    to a body that is larger than any that makes sense, of which no more is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = _refusal(scope)
        if refused is None and scope["method"] not in _READING:
            # Before the routes are asked: what they read of a body in pieces could not be refused with a status.
            body = await _body(receive)
            refused = _too_large() if body is None else None
            receive = _again(body or [], receive)
        if refused is None:
            await self._app(scope, receive, send)
        else:
            status, detail = refused
            await JSONResponse({"detail": detail}, status_code=status)(scope, receive, send)


async def _body(receive: Receive) -> list[Message] | None:
    """The messages that bring a request's body; None where it is too large."""
    messages: list[Message] = []
    size = 0
    while not messages or messages[-1].get("more_body"):
        message = await receive()
        size += len(message.get("body", b""))
        if size > _LARGEST:
            return None
        messages.append(message)
    return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    """What brings the messages once more, and then those that follow."""
    left = iter(messages)

    async def received() -> Message:
        for message in left:
            return message
        return await receive()

    return received


def _too_large() -> tuple[int, str]:
    return 413, (
        f"the body of the request has more than {_LARGEST:,} bytes, and nothing was changed: send at most 1,000 "
        "positions at once, or choose the failed items by their kind of error"
    )


def _refusal(scope: Scope) -> tuple[int, str] | None:
    asked = (("the path", scope.get("raw_path") or b""), *_parameters(scope.get("query_string") or b""))
    for name, raw in asked:
        if wrong := _unstorable(raw):
            return 422, f"{name} {wrong}; send text in UTF-8 without it"
    if "\0" in scope["path"]:
        return 422, "the path has the character NUL (%00), which no name here can have"
    if scope["method"] in _READING:
        return None
    if detail := foreign(scope):
        return 403, detail
    length = Headers(scope=scope).get("content-length", "")
    return _too_large() if length.isdecimal() and int(length[:20]) > _LARGEST else None


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
        return f"is not UTF-8: {text[exc.start : exc.start + 1]!r} at byte {exc.start}"
    return None


def foreign(scope: Mapping[str, Any]) -> str | None:
    """Return why a request that changes something is refused, as one that another site's page sent; None if it is not.

    * `Sec-Fetch-Site`, which browsers send and no page can set, is believed.
    * Else the `Origin`, or the `Referer` in its place, must be that of Airflow's `[api] base_url`, or of the host that
      the browser asked for (`X-Forwarded-Host` of a proxy, or `Host`). Its scheme may differ where a proxy ends TLS.
    * Without any of them it is not a browser's: a script, which has to bring a token.
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
