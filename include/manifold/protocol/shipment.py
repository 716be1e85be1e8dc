"""A job as it travels: by value, with the modules of the author's that its code imports when it runs.

A module that is imported here travels by value, as the job does: what a program has set in it is seen by the workers.
One that is not imported here travels as its source file, for it may import what only the workers have. Where something
cannot be pickled (a lock at the top of a helper), the helper modules travel as source files, too.
"""

from __future__ import annotations

import inspect
import io
import logging
import pickle
import sys
from types import CodeType, FunctionType, ModuleType
from typing import Any

from manifold.errors import WireError
from manifold.protocol import by_value, imports, naming, scope
from manifold.protocol.job import Job
from manifold.protocol.naming import Name
from manifold.protocol.pickler import ByValue, dumps_by_value
from manifold.protocol.scope import Source
from manifold.text import a_type

log = logging.getLogger(__name__)


def pack(job: Job) -> bytes:
    """Return the job pickled, with what it imports. Raises what pickling raises."""
    shipment = _Shipment(job, by_value.folders())
    try:
        return shipment.pack()
    except Exception as exc:
        helpers = shipment.helpers()
        if not helpers:
            raise
        try:
            packed = _Shipment(job, by_value.folders(), helpers).pack()
        except Exception:  # noqa: BLE001 - the first reason is the one to show
            raise exc from None
        log.warning(
            "%s cannot be sent as %s in memory (%s: %s), so what is sent is the source, as it is on disk",
            ", ".join(sorted(helpers)),
            "it is" if len(helpers) == 1 else "they are",
            type(exc).__name__,
            exc,
        )
        return packed


def culprit(job: Job) -> str:
    """Return ` (it is …)` for the constant or global that cannot be pickled; "" where none alone is to blame."""
    for name, value in job.consts.items():
        if not _goes(value):
            return f" (it is the constant {name}, {a_type(value)})"
    found = _culprit_of(job.fn, set())
    return f" (it is {found})" if found else ""


def _culprit_of(function: Any, seen: set[int]) -> str:
    """The global or the variable of a function, or of one that it calls, that cannot be pickled."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(function, FunctionType) or id(function) in seen:
        return ""
    seen.add(id(function))
    names = inspect.getclosurevars(function)
    for name, value in {**names.globals, **names.nonlocals}.items():
        if not _goes(value):
            where = function.__module__ if function.__module__ != "__main__" else "the script"
            return _culprit_of(value, seen) or f"{name} of {where}, {a_type(value)}, which {function.__qualname__} uses"
    return ""


def _goes(value: Any) -> bool:
    try:
        dumps_by_value(value)
    except Exception:  # noqa: BLE001 - pickling runs a user's code
        return False
    return True


def unpack(payload: bytes) -> Job:
    """Return the job for a process that reads. One that runs it takes `worker.modules.JobModules`."""
    job, _ = scope.loads(contents(payload)[2])
    if not isinstance(job, Job):
        raise WireError("the function's blob holds something else: another version wrote it")
    return job


def contents(payload: bytes) -> tuple[str, dict[str, Source], bytes]:
    """Return the process that packed it, the modules that came as source, and the pickled job."""
    process, sources, packed = pickle.loads(payload)  # nosec B301 # `envelope.unseal` has checked the signature
    return process, {name: Source(*fields) for name, fields in sources.items()}, packed


class _Shipment:
    """One way to send a job.

    Args:
        below: the author's folders.
        as_source: modules that travel as source, although they are imported here.
    """

    def __init__(self, job: Job, below: list[Any], as_source: frozenset[str] = frozenset()) -> None:
        self._job = job
        self._below = below
        self._as_source = as_source
        carried = scope.current()  # a job that came here, and is sent on
        self._modules: dict[str, ModuleType] = dict(carried.modules)
        self._sources: dict[str, Source] = dict(carried.sources)
        self._met: set[str] = set()

    def pack(self) -> bytes:
        self._add(self._as_source)
        while True:
            before = len(self._modules) + len(self._sources)
            packed, names = self._attempt()
            self._add(names)
            if len(self._modules) + len(self._sources) == before:
                sources = {name: tuple(source) for name, source in self._sources.items()}
                return pickle.dumps((naming.this_process(), sources, packed))

    def helpers(self) -> frozenset[str]:
        """The modules that could travel as source instead."""
        return frozenset(
            name
            for name in self._met | self._modules.keys()
            if not naming.program_of(name) and name not in ("__main__", "__mp_main__")
            if imports.loaded_module(name, self._below) is not None and imports.source_of(name, self._below) is not None
        )

    def _attempt(self) -> tuple[bytes, set[str]]:
        with io.BytesIO() as file:
            pickler = _JobPickler(file, frozenset(self._modules), frozenset(self._sources))
            try:
                pickler.dump((self._job, self._modules))
            finally:
                self._met |= pickler.met
            return file.getvalue(), pickler.imported()

    def _add(self, names: set[str] | frozenset[str]) -> None:
        """Take these modules along, if they are the author's, and what those import that travel as source."""
        waiting = imports.with_parents(names)
        while waiting:
            name = waiting.pop()
            if name in self._modules or name in self._sources or naming.program_of(name):
                continue
            module = imports.loaded_module(name, self._below)
            if module is not None and name not in self._as_source:
                self._modules[name] = module
            elif (source := imports.source_of(name, self._below)) is not None:
                self._sources[name] = source
                waiting |= imports.with_parents(self._imports_of(name, source))

    def _imports_of(self, name: str, source: Source) -> set[str]:
        try:
            return set(imports.imports(imports.compiled(source), imports.package_of(name, source.package)))
        except SyntaxError:
            return set()  # it is raised where it is imported


class _JobPickler(ByValue):
    """Pickles a job, and notes what its code imports.

    Args:
        modules: names of modules that travel whole.
        sources: names of modules that travel as source: their objects are references.
    """

    def __init__(self, file: io.BytesIO, modules: frozenset[str], sources: frozenset[str]) -> None:
        super().__init__(file)
        self.modules: frozenset[str] = modules
        self._sources = sources
        self._codes: dict[CodeType, str] = {}
        self._found: set[str] = set()
        self.met: set[str] = set()

    def imported(self) -> set[str]:
        """The names of modules that are used as modules, or that code imports when it runs."""
        return self._found.union(*(imports.imports(code, package) for code, package in self._codes.items()))

    def _function_by_value(self, function: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        names = function.__globals__
        self.met.add(function.__module__)
        self._codes[function.__code__] = names.get("__package__") or imports.package_of(
            str(names.get("__name__", "")), "__path__" in names
        )
        module = sys.modules.get(function.__module__)
        if function.__module__ in self.modules and module is not None and vars(module) is names:
            _, (code, _, _, _, closure), *rest = reduced
            return scope.make_function, (module, code, closure), *rest
        return reduced

    def _module(self, module: ModuleType) -> Any:
        name = module.__name__
        if name in self._sources:
            return scope.import_module, (name,)
        reduced = super()._module(module)
        if isinstance(reduced, tuple) and reduced[0] is scope.make_module:
            self.met.add(name)
            self._found.add(name)
        return reduced

    def _named(self, name: Name, obj: Any, definition: tuple[Any, Any, Any, Any]) -> Any:
        self.met.add(name.module)
        if name.listed and name.module in self._sources:
            return scope.refer, (*name, None)
        return super()._named(name, obj, definition)
