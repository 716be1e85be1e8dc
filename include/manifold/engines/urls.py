"""Reads the URLs of engines that run on this host: a scheme, a number of workers, options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from manifold.errors import ConfigError
from manifold.registry import masked


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
