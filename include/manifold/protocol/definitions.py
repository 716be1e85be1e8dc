"""Functions and classes by their content: what they say, and what they refer to, by value.

* A function counts by its code (not by its file, lines, name or docstring), its defaults, its closure, its attributes,
  and by the values of the globals that it uses: constants, tables, functions, classes, and the attributes that it takes
  of the author's own modules. Decorators are followed, as are methods, partials and what they hold.
* A class of the author's counts by its bases, methods, properties and attributes.
* A module of the author's that is imported inside a function counts by its source, loaded or not.
* What is installed (packages, the standard library, Manifold) counts by name, whatever its version.
* A global that a function itself changes (`global n`, `seen.append(x)`, `cache[x] = y`) is state, and does not count.
"""

from __future__ import annotations

import functools
import os
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from manifold.protocol import by_value, bytecode
from manifold.protocol.canonical import hashed

if TYPE_CHECKING:
    from manifold.protocol.identity import Identity

_UNSAID = frozenset({"_abc_impl", "_member_names_", "_member_map_", "_value2member_map_", "_unhashable_values_"})
"""What Python keeps in classes by names that an author might use."""
_DESCRIBED = ("__pydantic_fields__", "__struct_fields__", "__struct_defaults__")
"""Where libraries keep the fields of a class, with their defaults."""
_FUNCTIONS = (
    types.FunctionType,
    staticmethod,
    classmethod,
    property,
    functools.cached_property,
    functools.partialmethod,
    functools.singledispatchmethod,
)


class Behind:
    """The functions of one walk, each of which refers to more."""

    def __init__(self) -> None:
        self._functions: dict[int, types.FunctionType] = {}
        self._waiting: list[types.FunctionType] = []

    def add(self, function: types.FunctionType) -> None:
        if id(function) not in self._functions:
            self._functions[id(function)] = function
            self._waiting.append(function)

    def walked(self, identity: Identity) -> set[bytes]:
        """What each of the functions refers to, and the functions behind these, until there are no more."""
        found = set()
        while self._waiting:
            function = self._waiting.pop()
            names = sorted(_referred(function).items())
            parts = [part for name, value in names for part in (name.encode(), identity.of(value))]
            parts += _imported(function.__code__, function.__globals__)
            if parts:
                found.add(hashed(b"G", [bytecode.digest(function.__code__), *parts]))
        return found


def is_own(module: object) -> bool:
    """A module of the author's, by name; classes of extensions may have anything in that place."""
    return isinstance(module, str) and by_value.is_own(module)


# -- in place: what a function or a class is, without what it refers to by name ----------------------------------------


def of_function(identity: Identity, function: types.FunctionType) -> bytes:
    # Where its code stands, which `wraps` leaves as it is: a decorator of a package's has the author's `__module__`.
    module = str(function.__globals__.get("__name__", "__main__"))
    closure = [identity.of(held) for held in _held(function)]
    if not is_own(module):
        return hashed(b"N", [module.encode(), bytecode.name_of(function.__code__), *closure])
    _remember_folder(identity, function.__globals__)
    identity.follow(function)
    said = (function.__defaults__, function.__kwdefaults__, _said(vars(function)))
    return hashed(b"F", [bytecode.digest(function.__code__), *map(identity.of, said), *closure])


def _held(function: types.FunctionType) -> Iterator[Any]:
    """What is in a function's closure, but for its state and its own class."""
    for name, cell in _cells(function):
        if name != "__class__":
            with suppress(ValueError):  # not filled yet
                yield _lasting(bytecode.usage(function.__code__), name, cell.cell_contents)


def _cells(function: types.FunctionType) -> Iterator[tuple[str, types.CellType]]:
    return zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)


def of_class(identity: Identity, kind: type) -> bytes:
    if not is_own(kind.__module__):
        return _by_name(identity, kind)
    parts = [kind.__name__.encode(), identity.of(type(kind)), *map(identity.of, kind.__bases__)]
    members = getattr(kind, "__members__", None)
    if isinstance(members, Mapping):  # of an enum
        parts += [part for name, one in members.items() for part in (name.encode(), identity.of(one._value_))]
    for name, value in sorted(vars(kind).items()):
        if name in _DESCRIBED or (_counts(name, value) and not (members and name in members)):
            parts += [name.encode(), identity.of(value)]
    return hashed(b"C", parts)


def _counts(name: str, value: Any) -> bool:
    """A class attribute that its author wrote, or that does something."""
    if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)) or name in _UNSAID:
        return False
    dunder = name.startswith("__") and name.endswith("__")
    return isinstance(value, _FUNCTIONS) if dunder else True


def _method(identity: Identity, value: types.MethodType) -> bytes:
    return hashed(b"M", [identity.of(value.__func__), identity.of(value.__self__)])


def _wrapper(identity: Identity, value: Any) -> bytes:
    """`staticmethod(f)` and `classmethod(f)`."""
    return hashed(b"W", [type(value).__name__.encode(), identity.of(value.__func__)])


def _property(identity: Identity, value: property) -> bytes:
    return hashed(b"P", map(identity.of, (value.fget, value.fset, value.fdel)))


def _cached_property(identity: Identity, value: Any) -> bytes:
    return hashed(b"P", [identity.of(value.func)])


def _lru_cache(identity: Identity, value: Any) -> bytes:
    """Not by what it remembers."""
    return hashed(b"W", [b"lru_cache", identity.of(value.__wrapped__), identity.of(value.cache_parameters())])


def _single_dispatch(identity: Identity, value: Any) -> bytes:
    return hashed(b"W", [identity.of(value.func), identity.of(value.dispatcher.registry)])


def _builtin(identity: Identity, value: Any) -> bytes:
    """`math.sqrt`, or a method of a value, such as `TABLE.get`."""
    held = getattr(value, "__self__", None)
    name = hashed(b"N", [str(value.__qualname__).encode(), str(getattr(value, "__module__", "")).encode()])
    return name if held is None or isinstance(held, types.ModuleType) else hashed(b"M", [name, identity.of(held)])


def _by_name(identity: Identity, value: Any) -> bytes:
    return hashed(b"N", [str(value.__module__).encode(), value.__qualname__.encode()])


def _module(identity: Identity, value: types.ModuleType) -> bytes:
    """Its name. What a function takes of it is followed where the function is."""
    return hashed(b"m", [b"" if is_own(value.__name__) else value.__name__.encode()])


def _code(identity: Identity, value: types.CodeType) -> bytes:
    return bytecode.digest(value)


def _said(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a function, but for those that tools have left there."""
    return {name: value for name, value in attributes.items() if not name.startswith("__") and name != "pytestmark"}


def _remember_folder(identity: Identity, namespace: Mapping[str, Any]) -> None:
    file = namespace.get("__file__")
    folder = os.path.dirname(os.path.abspath(file)) if isinstance(file, str) else ""
    if folder.count(os.sep) > 1 and folder not in identity.folders:
        identity.folders.append(folder)
        identity.folders.sort(key=len, reverse=True)


WALKS: dict[type, Callable[[Identity, Any], bytes]] = {
    types.FunctionType: of_function,
    types.MethodType: _method,
    staticmethod: _wrapper,
    classmethod: _wrapper,
    property: _property,
    functools.cached_property: _cached_property,
    functools.singledispatchmethod: _single_dispatch,
    type(functools.lru_cache(lambda: None)): _lru_cache,
    types.BuiltinFunctionType: _builtin,
    types.MethodWrapperType: _builtin,
    types.WrapperDescriptorType: _builtin,
    types.MethodDescriptorType: _builtin,
    types.ClassMethodDescriptorType: _builtin,
    types.ModuleType: _module,
    types.CodeType: _code,
}


def _lasting(usage: bytecode.Usage, name: str, value: Any) -> Any:
    """What counts of a value that a function refers to: of what it changes, at most the class."""
    if name in usage.rebound:
        return None
    filled = name in usage.altered and isinstance(value, (MutableSequence, MutableMapping, MutableSet, deque))
    if isinstance(value, (type, types.FunctionType)) or not (filled or name in usage.assigned):
        return value
    return type(value) if is_own(type(value).__module__) else None


# -- by name: what a function refers to --------------------------------------------------------------------------------


def _referred(function: types.FunctionType) -> dict[str, Any]:
    """The values of the globals that a function uses, and of the attributes that it takes of the author's modules."""
    usage, namespace = bytecode.usage(function.__code__), function.__globals__
    found: dict[str, Any] = {}
    waiting = {name: namespace[name] for name in usage.globals if name in namespace}
    for name, cell in _cells(function):
        with suppress(ValueError):
            if isinstance(cell.cell_contents, types.ModuleType):
                waiting[name] = cell.cell_contents
    while waiting:
        name, value = waiting.popitem()
        if name.rpartition(".")[2].startswith("__") or name in found:
            continue
        if not isinstance(value, types.ModuleType):
            found[name] = _lasting(usage, name, value)
        elif is_own(value.__name__):
            taken = usage.attributes & vars(value).keys()
            # Under the name of the attribute: by which way the function came to the module makes no difference.
            waiting |= {f"{name}.{one}": vars(value)[one] for one in taken if name.count(".") < 5}
    return found


def _imported(code: types.CodeType, namespace: Mapping[str, Any]) -> list[bytes]:
    """The sources of the author's modules that a function imports when it runs, and of those that these import."""
    package = namespace.get("__package__") or ""
    return sorted(bytecode.sources(bytecode.usage(code).imports, package))
