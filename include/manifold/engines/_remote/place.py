"""What the URL of a transport says: `scheme://user:password@host:port/path?option=value`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from manifold.engines._balance import BALANCES
from manifold.engines.urls import SHORTEST_SILENCE
from manifold.errors import ConfigError
from manifold.redaction import masked
from manifold.registry import ENGINES

COMMON = ("queue", "silence", "balance")
"""Options of every transport's URL."""
TLS = ("tls", "tls_ca", "tls_cert", "tls_key")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transport leads to. `str()` of it shows no secret.

    Attributes:
        url: without the options of Manifold's own, for a library that reads URLs itself.
        password: "" where the URL has none.
        queue: workers and coordinators of one queue find each other.
        silence: seconds without a sign of life after which a worker counts as dead.
        balance: how calls are spread over workers.
        options: those of the transport's own.
    """

    scheme: str
    url: str = field(repr=False)
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    path: str = ""
    queue: str = "default"
    silence: float = 10.0
    balance: str = BALANCES[0]
    options: dict[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return masked(self.url)

    @property
    def address(self) -> str:
        """`host:port`, for messages and libraries; an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_url(url: str, **options: Any) -> Place:
    """Read a URL of a transport of ours without importing it: its registry row has what it takes."""
    row = ENGINES.row(url)
    return read(url, example=row.example, known=row.accepts, port=row.port, users=row.has_users, **options)


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
        example: what is shown where the URL makes no sense.
        known: the names of its own options.
        port: what is meant where the URL has none; None: it must have one.
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
    if not host or not at:
        raise ConfigError(f"{masked(url)!r} lacks {'a host' if not host else 'a port'}; write {example}")
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
        url=parts._replace(query=urlencode(options)).geturl(),
        host=host,
        port=at,
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
