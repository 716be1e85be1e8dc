"""Names of an earlier version that other people's code, configuration or data may still hold: they work for one minor
version, with a DeprecationWarning."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for `module` that finds its old names where they are now: `{"old": "package.module:new"}`.

    Raises AttributeError, as any module does, for a name that is not among them.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        where, _, now = names[name].partition(":")
        warnings.warn(
            f"{module}.{name} is now {where}.{now}; the old name will not work in the next minor version",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(import_module(where), now)

    return find
