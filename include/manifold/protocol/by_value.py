"""Which modules travel with a function: those of the author's own folders go by value, so that no worker needs a copy
of them, and none runs yesterday's. What is installed (site-packages, the standard library, Manifold) goes by name."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

_LIBRARY = Path(__file__).resolve().parents[1]
_PROGRAMS = ("__main__", "__mp_main__")


class _Registry:
    """Modules that go by value, each for as long as one block says so."""

    def __init__(self) -> None:
        self.renew_lock()
        self.blocks: list[_Block] = []
        self.counts: Counter[str] = Counter()
        self.seen: set[str] = set()

    def renew_lock(self) -> None:
        """A fork has a lock of its own: another thread of its parent may have held this one."""
        self.lock = threading.RLock()

    def add(self, module: ModuleType) -> bool:
        """Register a module; False where somebody else has."""
        name = module.__name__
        with self.lock:
            if not self.counts[name] and name in cloudpickle.list_registry_pickle_by_value():
                return False
            if not self.counts[name]:
                cloudpickle.register_pickle_by_value(module)
            self.counts[name] += 1
            return True

    def remove(self, module: ModuleType) -> None:
        with self.lock:
            self.counts[module.__name__] -= 1
            if not self.counts[module.__name__]:
                cloudpickle.unregister_pickle_by_value(module)


class _Block:
    def __init__(self, folders: list[Path], names: frozenset[str] = frozenset()) -> None:
        self.folders = folders
        self._names = names
        self.registered: dict[str, ModuleType] = {}

    def owns(self, module: ModuleType) -> bool:
        return module.__name__ in self._names or is_below(self.folders, module)

    def register(self, modules: Iterable[ModuleType]) -> None:
        for module in modules:
            if module.__name__ not in self.registered and _registry.add(module):
                self.registered[module.__name__] = module


_registry = _Registry()
os.register_at_fork(after_in_child=_registry.renew_lock)


@contextmanager
def by_value(roots: Iterable[str | Path]) -> Iterator[None]:
    """Within it, functions and classes of the modules below `roots` are pickled by value.

    Modules count that are imported when the block begins, and those that `adopt` meets later. Blocks may nest, and may
    be open in several threads.
    """
    block = _Block(_folders(roots))
    block.register(shipped(block.folders))
    with _open(block):
        yield


@contextmanager
def as_own(names: Iterable[str]) -> Iterator[None]:
    """Within it, the modules of these names are pickled by value wherever they lie."""
    with _open(_Block([], frozenset(names))):
        yield


@contextmanager
def _open(block: _Block) -> Iterator[None]:
    with _registry.lock:
        _registry.blocks.append(block)
        _registry.seen.clear()
    try:
        yield
    finally:
        with _registry.lock:
            _registry.blocks.remove(block)
            _registry.seen.clear()
            for module in block.registered.values():
                _registry.remove(module)


def adopt(name: str | None) -> None:
    """Let a module go by value that was imported after the block began."""
    if name is None or name in _registry.seen or not (_registry.blocks or name == "__mp_main__"):
        return
    module = sys.modules.get(name)
    with _registry.lock:
        if isinstance(module, ModuleType) and module.__name__ == name:
            if name == "__mp_main__":  # the script, in a child of multiprocessing
                _registry.add(module)
            for block in _registry.blocks:
                if block.owns(module):
                    block.register([module])
                    break
        _registry.seen.add(name)


def goes_by_value(name: str | None) -> bool:
    """Return whether the objects of this module go by value."""
    if name in _PROGRAMS:
        return True
    registered = cloudpickle.list_registry_pickle_by_value()
    while name:
        if name in registered:
            return True
        name = name.rpartition(".")[0]
    return False


def folders() -> list[Path]:
    """Return the author's folders, as the open blocks have them."""
    with _registry.lock:
        return [folder for block in _registry.blocks for folder in block.folders]


def shipped(roots: Iterable[str | Path]) -> list[ModuleType]:
    """The imported modules that `by_value(roots)` is about."""
    below = _folders(roots)
    # `__main__` goes by value anyway. Whoever files a module under another name means something by it.
    return [
        module
        for name, module in list(sys.modules.items())
        if name != "__main__" and isinstance(module, ModuleType) and module.__name__ == name and is_below(below, module)
    ]


def is_below(below: Iterable[Path], module: ModuleType) -> bool:
    """Return whether a module is the author's: in one of these folders, and not installed there."""
    place = _place(module)
    return place is not None and is_authors(below, place)


def is_authors(below: Iterable[Path], place: Path) -> bool:
    """Return whether a file or folder is the author's."""
    # As text: every imported module is asked for, and this is ten times as fast as `is_relative_to`.
    file = f"{place}{os.sep}"
    return any(file.startswith(f"{folder}{os.sep}") for folder in below) and not is_installed(place)


def is_own(name: str) -> bool:
    """True for a module of the author's: neither installed nor of the standard library nor of Manifold.

    One that nobody can look up is the author's: of a notebook, made by `exec`, or unpickled by value.
    """
    module = sys.modules.get(name)
    if name == "__main__" or module is None:
        return name.partition(".")[0] not in sys.stdlib_module_names or name == "__main__"
    place = _place(module)
    return not is_installed(place) if place else name.partition(".")[0] not in sys.stdlib_module_names


def is_own_file(path: str) -> bool:
    """True for the file of a module that would be the author's."""
    return not is_installed(resolved(path))


def as_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`. What a decorated function is pickled as, so that a worker need not import the decorator."""
    return function


def script_roots() -> list[Path]:
    """Where plain Python's own modules are: the script's folder, or the working folder of a notebook or prompt."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return [Path(script).resolve().parent if script else Path.cwd()]


def is_installed(place: Path) -> bool:
    """Return whether a file or folder is of an installed package, of the standard library, or of Manifold."""
    # A virtual environment often lies inside the project.
    if any(part in ("site-packages", "dist-packages") for part in place.parts):
        return True
    return place.is_relative_to(_LIBRARY) or any(place.is_relative_to(folder) for folder in _standard_library())


def _folders(roots: Iterable[str | Path]) -> list[Path]:
    return [root for root in (Path(one).resolve() for one in roots) if root != Path(root.anchor)]


def _place(module: ModuleType) -> Path | None:
    """The file of a module, or the folder of a package without one."""
    where = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return resolved(where) if isinstance(where, str) else None


@lru_cache(maxsize=4096)
def resolved(where: str) -> Path:
    """Return the real path of a file."""
    return Path(os.path.realpath(where))


@lru_cache(maxsize=1)
def _standard_library() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
