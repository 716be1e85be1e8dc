"""Modules of the author's that came with a job: `import` finds them while the job's code runs, and nobody else does."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from manifold.errors import StoreError
from manifold.protocol import by_value, imports, naming, scope, shipment
from manifold.protocol.job import Job
from manifold.protocol.scope import AtHome, Scope, Source

_PATIENCE = 600.0  # seconds that a chunk waits for one of another job that has modules, too, in the same process


class NotLoadable(ImportError):
    """This process cannot load the job; the message says why, and what to do."""


class JobModules(MetaPathFinder, Loader):
    """The modules of one job, and the scope that its classes and functions are found in.

    A job that was made in this process needs none: there, its own modules are the right ones.
    """

    def __init__(self, payload: bytes) -> None:
        process, sources, self._packed = shipment.contents(payload)
        self._local = naming.is_this_process(process)
        self.scope = AtHome() if self._local else Scope()
        self.scope.sources = {} if self._local else sources
        self._held: dict[str, ModuleType] = {}
        self._hidden: dict[str, ModuleType] = {}
        self._installed: set[str] = set()

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Let `import` find them, and unpickling the job's classes, for as long as this block runs."""
        with scope.within(self.scope):
            if self._local or not (self.scope.modules or self.scope.sources):
                yield
                return
            _stage.enter(self)
            try:
                with by_value.as_own(self._names()):
                    yield
            finally:
                _stage.leave()

    def job(self) -> Job:
        """The job. Call it once, before they are needed: those that come by value come with it.

        Raises NotLoadable, or what unpickling raises.
        """
        try:
            with self.importable():
                job, _ = scope.loads(self._packed)
        except AttributeError as exc:
            raise NotLoadable(
                f"{exc}. If that is of an installed package, install the same version on both. If it is of your "
                "script, DAG file or helper module, Python sends it by its name only, which means nothing on the "
                "worker: make it inside the function, or by per_worker(factory)"
            ) from exc
        self._packed = b""
        return job  # type: ignore[no-any-return]

    def conflict(self) -> str | None:
        """Why one of them would stand before an installed module of this host, in words; None where none would."""
        for name in sorted({name.partition(".")[0] for name in self._names()}):
            spec = None if name in sys.stdlib_module_names else PathFinder.find_spec(name)
            if name in sys.stdlib_module_names or (spec and spec.origin and by_value.is_installed(Path(spec.origin))):
                return f"module {name} beside the function has the name of a module that is installed there; rename it"
        return None

    def install(self) -> None:
        """Make them importable. Modules of the same names are out of sight until `remove`."""
        self._installed = names = self._names()
        self._hidden = {name: module for name in names if (module := sys.modules.pop(name, None)) is not None}
        sys.meta_path.insert(0, self)
        self._held = self.scope.modules | self._held
        sys.modules.update(self._held)
        for name in sorted(self._held):
            package, _, tail = name.rpartition(".")
            if package in self._held:
                setattr(self._held[package], tail, self._held[name])

    def remove(self) -> None:
        sys.meta_path.remove(self)
        for name in self._installed:
            if (module := sys.modules.pop(name, None)) is not None:
                self._held[name] = module
        sys.modules.update(self._hidden)

    def _names(self) -> set[str]:
        return self.scope.modules.keys() | self.scope.sources.keys()

    # -- what `import` asks --------------------------------------------------------------------------------------------

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        source = self.scope.sources.get(fullname)
        if source is None:
            return None
        spec = ModuleSpec(fullname, self, origin=source.file, is_package=source.package)
        spec.has_location = True
        if source.package:
            init = source.file.endswith(".py")
            spec.submodule_search_locations = [str(Path(source.file).parent) if init else source.file]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        source: Source = self.scope.sources[module.__name__]
        exec(imports.compiled(source), vars(module))  # nosec B102 # of a job whose signature was checked


class _Stage:
    """Whose modules are importable: those of one job at a time, in any number of threads."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._holder: JobModules | None = None
        self._users = 0

    def enter(self, modules: JobModules, clock: Callable[[], float] = time.monotonic) -> None:
        deadline = clock() + _PATIENCE
        with self._free:
            while self._holder not in (None, modules):
                if clock() > deadline:
                    raise StoreError("another job, with modules of its own, keeps this process busy; try again")
                self._free.wait(1.0)
            if self._holder is None:
                modules.install()
                self._holder = modules
            self._users += 1

    def leave(self) -> None:
        with self._free:
            self._users -= 1
            if not self._users and self._holder is not None:
                self._holder.remove()
                self._holder = None
                self._free.notify_all()


_stage = _Stage()
