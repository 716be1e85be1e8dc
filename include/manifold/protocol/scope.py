"""Where unpickling looks for the author's classes and functions.

* A worker has one scope for each job: the classes that came with the job, and no others. So jobs never mix.
* Every other reader has its own modules, and for what they lack a copy, which is said once in the log.

A class that this process has defined itself is found by its mark in either of them.
"""

from __future__ import annotations

import builtins
import importlib
import logging
import pickle
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from importlib.machinery import ModuleSpec
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from manifold.protocol import naming, wrappers
from manifold.protocol.naming import MISSING, Name

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """A module as its source file."""

    file: str
    package: bool
    text: bytes


class Scope:
    """What came by value, by mark and by name."""

    def __init__(self) -> None:
        self.modules: dict[str, ModuleType] = {}
        """What can be imported while the job's code runs, and came by value."""
        self.sources: Mapping[str, Source] = {}
        """What can be imported then, and came as source."""
        self._marked: dict[str, Any] = {}
        self._named: defaultdict[tuple[str, str], list[tuple[Name, Any]]] = defaultdict(list)

    def add(self, name: Name, obj: Any) -> None:
        if "." in name.mark:
            self._marked[name.mark] = obj
        self._named[name.key].append((name, obj))

    def known(self, name: Name) -> Any:
        """Return what has this name, or MISSING."""
        if (found := naming.original(name)) is MISSING:
            found = self._marked.get(name.mark, MISSING)
        if found is MISSING and name.listed and name.module in self.sources:
            return naming.attribute(importlib.import_module(name.module), name.qualname)
        return self._namesake(name) if found is MISSING else found

    def copied(self, name: Name, copy: Callable[[], Any]) -> Any:
        """Return the object that `copy` makes."""
        return copy()

    def _namesake(self, name: Name) -> Any:
        """The one object of that name. Of two that one process has defined, neither is meant."""
        namesakes = [(other, obj) for other, obj in self._named.get(name.key, ()) if not _differ(name, other)]
        if len(namesakes) == 1:
            return namesakes[0][1]
        head, _, tail = name.qualname.rpartition(".")
        if namesakes or not head or not name.listed:
            return MISSING
        holder = self._namesake(name._replace(qualname=head, mark=name.process))
        return MISSING if holder is MISSING else getattr(holder, tail, MISSING)


class AtHome(Scope):
    """A job in the process that made it: items of other processes, too, get this one's own classes, as the job has."""

    def known(self, name: Name) -> Any:
        return super().known(name) if (found := _here(name)) is MISSING else found


class _Reader(Scope):
    """A process that reads: its own modules come first."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[tuple[str, str]] = set()

    def known(self, name: Name) -> Any:
        return self._marked.get(name.mark, MISSING) if (found := _here(name)) is MISSING else found

    def copied(self, name: Name, copy: Callable[[], Any]) -> Any:
        """Return the copy that was made of the same definition before, or a new one."""
        made = copy()
        self.tell(name, made)
        for other, obj in self._named[name.key]:
            if obj is not made and not _differ(name, other) and _shape(obj) == _shape(made):
                self._named[name.key] = [one for one in self._named[name.key] if one[1] is not made]
                self._marked[name.mark] = obj
                return obj
        return made

    def tell(self, name: Name, made: Any) -> None:
        """Say once that this process has nothing of that name."""
        if name.key not in self._told:
            self._told.add(name.key)
            log.warning("%s", _not_here(name, made))


READER = _Reader()
_current: ContextVar[Scope] = ContextVar("manifold_scope", default=READER)


def current() -> Scope:
    """Return the scope of the job at hand; that of a reader where there is none."""
    return _current.get()


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """Unpickle in this scope."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


class _Unfilled(threading.local):
    """Objects that were made, and have no state yet, by id."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}


_unfilled = _Unfilled()


def loads(data: bytes) -> Any:
    """Return what was pickled. Raises what unpickling raises."""
    try:
        return pickle.loads(data)  # nosec B301 # `envelope.unseal` has checked the signature
    except BaseException:
        forget_unfilled()
        raise


def forget_unfilled() -> None:
    """Forget what an unpickling that failed has left half made."""
    _unfilled.objects.clear()


# -- what stands in pickles: these names are part of the format --------------------------------------------------------


def refer(module: str, program: str, qualname: str, mark: str, listed: bool, definition: bytes | None) -> Any:
    """Return the object of that name as this process has it, else as `definition` has it."""
    name, scope = Name(module, program, qualname, mark, listed), _current.get()
    found = scope.known(name)
    if found is not MISSING:
        return found
    if definition is None:
        raise AttributeError(f"{_called(name)} cannot be found here, and was not sent along. {_advice(name)}")
    return scope.copied(name, lambda: pickle.loads(zlib.decompress(definition)))  # nosec B301 # as in loads


def define(
    module: str,
    program: str,
    qualname: str,
    mark: str,
    listed: bool,
    make: Callable[..., Any],
    args: tuple[Any, ...],
) -> Any:
    """Return a copy without its state, or the object itself where the scope has it."""
    name, scope = Name(module, program, qualname, mark, listed), _current.get()
    found = _defined_before(name, scope, make)
    if found is not MISSING:
        return found
    obj = make(*args)
    scope.add(name, obj)
    if make is not wrappers.bare:  # an object of the author's may be neither hashable nor filled
        naming.remember_copy(obj, name)
    _unfilled.objects[id(obj)] = obj
    return obj


def define_again(
    module: str,
    program: str,
    qualname: str,
    mark: str,
    listed: bool,
    make: Callable[..., Any],
    args: tuple[Any, ...],
) -> Any:
    """Return as `define` does; a reader that makes a copy is told so."""
    obj = define(module, program, qualname, mark, listed, make, args)
    if id(obj) in _unfilled.objects and _current.get() is READER:
        READER.tell(Name(module, program, qualname, mark, listed), obj)
    return obj


def fill(obj: Any, state: tuple[Callable[[Any, Any], Any], Any]) -> None:
    """Give a copy its state; an object that was there has one."""
    if _unfilled.objects.pop(id(obj), None) is not None:
        setter, value = state
        setter(obj, value)


def make_module(name: str, package: bool, file: str | None) -> ModuleType:
    """Return an empty module, which `fill_module` fills."""
    scope = _current.get()
    if name in scope.modules:
        return scope.modules[name]
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, origin=file, is_package=package)
    module.__package__ = name if package else name.rpartition(".")[0]
    if scope is not READER:
        scope.modules[name] = module
    _unfilled.objects[id(module)] = module
    return module


def fill_module(module: ModuleType, state: dict[str, Any]) -> None:
    """Give a module its contents, unless it was there."""
    if _unfilled.objects.pop(id(module), None) is not None:
        vars(module).update(state)


def import_module(name: str) -> ModuleType:
    """Return a module that came as source."""
    return importlib.import_module(name)


def make_function(module: ModuleType, code: CodeType, closure: tuple[CellType, ...] | None) -> FunctionType:
    """Return a function whose globals are those of a module that came by value."""
    vars(module).setdefault("__builtins__", vars(builtins))
    return FunctionType(code, vars(module), None, None, closure)


def _defined_before(name: Name, scope: Scope, make: Callable[..., Any]) -> Any:
    if "." in name.mark:
        return scope.known(name)
    if make is not wrappers.bare:
        return MISSING  # the code that was sent is the code that runs
    return naming.here(name) if naming.is_from_here(name) or scope is READER else MISSING


def _here(name: Name) -> Any:
    """Return what this process has itself, or MISSING."""
    if (found := naming.original(name)) is not MISSING:
        return found
    return naming.here(name) if name.listed else naming.living_namesake(name)


def _differ(one: Name, other: Name) -> bool:
    """Two classes that one process has defined under one name."""
    return one.process == other.process and one.mark != other.mark and "." in one.mark and "." in other.mark


def _shape(kind: Any) -> object:
    """What two definitions of a class have in common where one can stand for the other."""
    if isinstance(kind, type):
        if issubclass(kind, Enum):
            return [(member.name, repr(member.value)) for member in kind]
        return sorted(vars(kind).keys() - {"__firstlineno__", "__static_attributes__"})
    return kind.__code__.co_code if isinstance(kind, FunctionType) else type(kind).__qualname__


def _not_here(name: Name, made: Any) -> str:
    kind = "class" if isinstance(made, type) else "function" if isinstance(made, FunctionType) else "object"
    return (
        f"{kind} {_called(name)} cannot be found in this process, so a copy of it as it was then is used: isinstance, "
        f"`is` and == do not hold between it and other definitions of its name. {_advice(name)}"
    )


def _called(name: Name) -> str:
    if name.program:
        return f"{name.qualname} of {name.program}.py"
    return name.qualname if name.module in ("", "__main__") else f"{name.module}.{name.qualname}"


def _advice(name: Name) -> str:
    if "<locals>" in name.qualname:
        return "It is defined inside a function, where no other process finds it: define it at the top of a module"
    if not name.listed:
        return "Its module has something else of that name"
    if name.program:
        return f"Import {name.program} before reading, or move it to a module that both import"
    if name.module == "__main__":
        return "It was defined in a notebook or at a prompt: move it to a module that both import"
    return f"Make module {name.module} importable here, with this name in it"
