"""memory://NAME — a dict of this process, shared by all that open the same name.

For tests and for notebooks with `threads://`. It is gone with the process, so Airflow refuses it, and a scatter whose
workers are other processes sends its results back through the coordinator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Self

from manifold.abc import Store
from manifold.errors import ConfigError

_SPACES: dict[str, dict[str, bytes]] = {}


class MemoryStore(Store):
    """Results in memory. Each operation is one step of a dict, so threads need no lock."""

    durable = False
    reach = "process"

    def __init__(self, name: str = "") -> None:
        self.url = f"memory://{name}"
        self._blobs = _SPACES.setdefault(name, {})

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The store behind `memory://NAME`."""
        name = url.partition("://")[2]
        if options or not re.fullmatch(r"[0-9A-Za-z_-]*", name):
            raise ConfigError(f"{url!r} must read memory://NAME, with letters, digits, '-' and '_' in the name")
        return cls(name)

    def _put(self, key: str, value: bytes) -> None:
        self._blobs[key] = bytes(value)

    def _get(self, key: str) -> bytes | None:
        return self._blobs.get(key)

    def _delete(self, key: str) -> None:
        self._blobs.pop(key, None)

    def _keys(self, prefix: str) -> Iterable[str]:
        return list(self._blobs)
