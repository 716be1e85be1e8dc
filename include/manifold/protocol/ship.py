"""Which modules travel with a function: those of the author's own folders go by value, so that no worker needs a copy
of them, and none runs yesterday's. What is installed (site-packages, the standard library, Manifold) goes by name."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

_LIBRARY = Path(__file__).resolve().parents[1]


@contextmanager
def by_value(roots: Iterable[str | Path]) -> Iterator[None]:
    """Within it, functions and classes of the modules below `roots` are pickled by value.

    Modules count that are imported when the block begins. Blocks may nest.
    """
    registered = []
    for module in shipped(roots):
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            registered.append(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def shipped(roots: Iterable[str | Path]) -> list[ModuleType]:
    """The imported modules that `by_value(roots)` is about."""
    folders = [root for root in (Path(one).resolve() for one in roots) if root != Path(root.anchor)]
    found = []
    for name, module in list(sys.modules.items()):
        # `__main__` goes by value anyway. Whoever files a module under another name means something by it.
        if name != "__main__" and isinstance(module, ModuleType) and module.__name__ == name:
            place = _place(module)
            if place and any(place.is_relative_to(folder) for folder in folders) and not _installed(place):
                found.append(module)
    return found


def is_own(name: str) -> bool:
    """True for a module of the author's: neither installed nor of the standard library nor of Manifold.

    One that nobody can look up is the author's: of a notebook, made by `exec`, or unpickled by value.
    """
    module = sys.modules.get(name)
    if name == "__main__" or module is None:
        return name.partition(".")[0] not in sys.stdlib_module_names or name == "__main__"
    place = _place(module)
    return not _installed(place) if place else name.partition(".")[0] not in sys.stdlib_module_names


def is_own_file(path: str) -> bool:
    """True for the file of a module that would be the author's."""
    return not _installed(_resolved(path))


def as_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`. What a decorated function is pickled as, so that a worker need not import the decorator."""
    return function


def script_roots() -> list[Path]:
    """Where plain Python's own modules are: the script's folder, or the working folder of a notebook or prompt."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return [Path(script).resolve().parent if script else Path.cwd()]


def _place(module: ModuleType) -> Path | None:
    """The file of a module, or the folder of a package without one."""
    where = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return _resolved(where) if isinstance(where, str) else None


@lru_cache(maxsize=4096)
def _resolved(where: str) -> Path:
    return Path(os.path.realpath(where))


def _installed(place: Path) -> bool:
    # A virtual environment often lies inside the project.
    if any(part in ("site-packages", "dist-packages") for part in place.parts):
        return True
    return place.is_relative_to(_LIBRARY) or any(place.is_relative_to(folder) for folder in _standard_library())


@lru_cache(maxsize=1)
def _standard_library() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
