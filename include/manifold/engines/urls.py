"""Reads the URLs of engines, without opening anything: a scheme, a number of workers or a queue, options."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from manifold.errors import ConfigError
from manifold.redaction import masked

SHORTEST_SILENCE = 3.0
"""Seconds: three signs of life of a Celery worker."""


def threads_url(url: str, **options: Any) -> int | None:
    """The number of threads that `threads://N` says, if it does."""
    return local_url(url, "threads", options)[0]


def processes_url(url: str, **options: Any) -> tuple[int | None, dict[str, str]]:
    """The number of processes that `processes://N` says, if it does, and its options."""
    return local_url(url, "processes", options, {"start": ("forkserver", "spawn")})


def celery_url(url: str, *, queue: str | None = None, **options: Any) -> tuple[str | None, float]:
    """The queue (None: Airflow's default one) and the seconds of silence of `celery://QUEUE?silence=10`."""
    parts = urlsplit(url)
    given = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **options}
    silence = _silence(given.pop("silence", 10.0), url)
    if given or parts.path.strip("/"):
        raise ConfigError(f"{masked(url)!r} is not of the form celery://QUEUE or celery://QUEUE?silence=10")
    return queue or unquote(parts.netloc) or None, silence


def _silence(value: Any, url: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not SHORTEST_SILENCE <= seconds < math.inf:
        raise ConfigError(f"silence={value!r} of {masked(url)!r} must be seconds, at least {SHORTEST_SILENCE:g}")
    return seconds


def cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_url(
    url: str, scheme: str, options: Mapping[str, Any], known: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[int | None, dict[str, str]]:
    """The number of workers (None: not said) and the options of `scheme://N?option=value`.

    Args:
        options: what came by keyword; wins over the URL.
        known: the options that there are, each with the values it may have.

    Raises:
        ConfigError: anything else, with what to write.
    """
    known = known or {}
    parts = urlsplit(url)
    example = f"write {scheme}://4, or {scheme}:// to leave the number to this host"
    if parts.path.strip("/") or parts.fragment:
        raise ConfigError(f"{masked(url)!r} has a part that means nothing here; {example}")
    if parts.netloc and not (parts.netloc.isascii() and parts.netloc.isdigit() and int(parts.netloc) > 0):
        raise ConfigError(f"{parts.netloc!r} of {masked(url)!r} is not a number of workers above 0; {example}")
    given = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **options}
    for name, value in given.items():
        if name not in known:
            there_are = f"it has: {', '.join(known)}" if known else f"{scheme}:// has none"
            if name == "queue":
                raise ConfigError(f"{scheme}:// has no queues: leave out worker_queue={value!r}")
            raise ConfigError(f"unknown option {name!r} of {masked(url)!r}; {there_are}")
        if value not in known[name]:
            raise ConfigError(f"{name}={value!r} of {masked(url)!r} must be one of {', '.join(known[name])}")
    return (int(parts.netloc) if parts.netloc else None), given
