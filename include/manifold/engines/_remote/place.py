"""What the URL of a transport says: `scheme://user:password@host:port/path?option=value`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from manifold.abc.transport import Place as Place
from manifold.engines._balance import BALANCES
from manifold.engines.urls import SHORTEST_SILENCE
from manifold.errors import ConfigError
from manifold.redaction import masked
from manifold.registry import ENGINES

COMMON = ("queue", "silence", "balance")
"""Options of every transport's URL."""
TLS = ("tls", "tls_ca", "tls_cert", "tls_key")


def check_url(url: str, **options: Any) -> Place:
    """Read a URL of a transport of ours without importing it: its registry row has what it takes."""
    row = ENGINES.row(url)
    return read(url, example=row.example, known=row.accepts, port=row.port, users=row.has_users, **options)


def dask_url(url: str, **options: Any) -> Place:
    """Read `dask://host:8786`, or `dask://local?workers=2` for a cluster of our own; raises ConfigError."""
    row = ENGINES.row(url)
    own = is_local(url)
    place = read(url, example=row.example, known=("workers",) if own else row.accepts, port=row.port, **options)
    if place.queue != "default":
        raise ConfigError(f"dask:// has no queues: leave out {place.queue!r}")
    for name in ("workers", "per_worker"):
        if (number := place.options.get(name, "1")) and not (number.isascii() and number.isdigit() and int(number)):
            raise ConfigError(f"{name}={number!r} of {place} must be a number above 0")
    if place.options.keys() & {*TLS} and not place.options.keys() >= {"tls_ca", "tls_cert"}:
        raise ConfigError(f"{place} needs both tls_ca and tls_cert to speak TLS, and tls_key where that is a file")
    return place


def is_local(url: str) -> bool:
    """True where a `dask://` URL asks for a cluster of our own."""
    return urlsplit(url).netloc.lower() == "local"


def read(
    url: str,
    *,
    example: str,
    known: Iterable[str] = (),
    port: int | None = None,
    users: bool = True,
    queue: str | None = None,
    **given: Any,
) -> Place:
    """Read a transport's URL.

    Args:
        example: what is shown where the URL makes no sense. A host and a port are needed where it has them.
        known: the names of its own options.
        port: what is meant where the URL has none.
        users: there can be a user's name; else a password stands alone: `:PASSWORD@`.
        queue: wins over the URL's.
        given: options by keyword; win over the URL's.

    Raises:
        ConfigError: with what to write.
    """
    parts = urlsplit(url)
    try:
        host, at = parts.hostname or "", parts.port or port
    except ValueError as exc:
        raise ConfigError(f"cannot read {masked(url)!r}: {exc}; write {example}") from exc
    shown = urlsplit(example)
    if (shown.hostname and not host) or (shown.port and not at):
        raise ConfigError(
            f"{masked(url)!r} lacks {'a port' if host or not shown.hostname else 'a host'}; write {example}"
        )
    if parts.username and not users:
        secret = f"{parts.scheme}://:***@{parts.netloc.rpartition('@')[2]}"
        raise ConfigError(
            f"there are no users at {secret}: write a colon before the password (here ***), as in "
            f"{parts.scheme}://:PASSWORD@host"
        )
    options = {
        **dict(parse_qsl(parts.query, keep_blank_values=True)),
        **{name: str(one) for name, one in given.items()},
    }
    ours = {name: options.pop(name) for name in COMMON if name in options}
    known = tuple(known)
    if unknown := sorted(options.keys() - {*known}):
        there_are = ", ".join((*COMMON, *known))
        raise ConfigError(f"unknown option {unknown[0]!r} of {masked(url)!r}; there are: {there_are}")
    return Place(
        scheme=parts.scheme,
        url=f"{parts.scheme}://{parts.netloc}{parts.path}{'?' if options else ''}{urlencode(options)}",
        host=host,
        port=at or 0,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        path=unquote(parts.path.lstrip("/")),
        queue=_name(queue or ours.get("queue") or "default", url),
        silence=_seconds(ours.get("silence", "10"), url),
        balance=_balance(ours.get("balance", BALANCES[0]), url),
        options=options,
    )


def _name(queue: str, url: str) -> str:
    if len(queue) > 24 or not all(one.isascii() and (one.isalnum() or one in "_-") for one in queue):
        raise ConfigError(f"the queue {queue!r} of {masked(url)!r} must be 1 to 24 letters, digits, - and _")
    return queue


def _seconds(text: str, url: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST_SILENCE <= seconds < math.inf:
        raise ConfigError(f"silence={text!r} of {masked(url)!r} must be seconds, at least {SHORTEST_SILENCE:g}")
    return seconds


def _balance(name: str, url: str) -> str:
    if name not in BALANCES:
        raise ConfigError(f"balance={name!r} of {masked(url)!r} must be one of {', '.join(BALANCES)}")
    return name
