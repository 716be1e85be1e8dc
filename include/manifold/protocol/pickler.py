"""The pickler: an author's classes and functions as references that hold in every process, or by value.

| mode | what a class or function of the author's becomes |
|---|---|
| values | its name, with a packed definition beside it, read only where the name leads to nothing |
| by value | its definition, under its name: what the function of a scatter travels as |

Only classes, functions and instances are seen here; plain data costs what pickling costs.
"""

from __future__ import annotations

import io
import pickle
import sys
import zlib
from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import cloudpickle

from manifold.protocol import by_value, naming, scope, wrappers
from manifold.protocol.naming import Name

_LEFT_OUT = frozenset({"__builtins__", "__spec__", "__loader__", "__cached__"})
_PROTOCOL = pickle.HIGHEST_PROTOCOL
_definitions: WeakKeyDictionary[Any, bytes | None] = WeakKeyDictionary()


def dumps(value: Any) -> bytes:
    """Return `value` pickled; the author's classes and functions in it as references. Raises what pickling raises."""
    with io.BytesIO() as file:
        Pickler(file).dump(value)
        return file.getvalue()


def forget_definitions() -> None:
    """Pack definitions anew from now on: classes may have changed."""
    _definitions.clear()


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Pickles one value, in the mode "values"."""

    by_value = False
    modules: frozenset[str] | None = None
    """Names of modules that travel whole; None for all that are met."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=_PROTOCOL)
        self._own: dict[type, bool] = {}
        self._ordinary: set[type] = set()  # whose instances need nothing of ours

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in self._ordinary:
            return NotImplemented
        reduce = _KINDS.get(kind)
        if reduce is not None:
            return reduce(self, obj)
        if issubclass(kind, type):
            return self._class(obj)
        if kind not in self.dispatch_table and _says_how(kind):
            return self._reduced_by_itself(obj, kind)
        self._ordinary.add(kind)
        return NotImplemented

    # -- kinds of objects ----------------------------------------------------------------------------------------------

    def _class(self, kind: type) -> Any:
        by_value.adopt(kind.__module__)
        reduced = super().reducer_override(kind)
        if not isinstance(reduced, tuple) or len(reduced) < 6:
            return reduced  # installed, or a built-in type
        make, args, state, _, _, setter = reduced
        args = (*args[:-2], None, args[-1])  # our marks replace cloudpickle's, which hold in one process only
        slots = vars(kind).get("__slots__")
        # Else its instances would have a __dict__ there. (A NamedTuple has no say in the matter.)
        if slots is not None and isinstance(args[3], dict) and not (slots == () and issubclass(kind, tuple)):
            args = (*args[:3], {**args[3], "__slots__": slots}, *args[4:])
        return self._named(naming.name_of(kind), kind, (make, args, state, setter))

    def _function(self, function: FunctionType) -> Any:
        by_value.adopt(function.__module__)
        reduced = super().reducer_override(function)
        if not isinstance(reduced, tuple):
            return reduced
        if function.__code__ is wrappers.DISPATCH:
            return self._wrapper(function)
        name = naming.name_of(function)
        reduced = self._function_by_value(function, reduced)
        if not name.listed or (self.by_value and "." in name.qualname):
            return reduced  # nobody asks for a lambda or a method by its name
        make, args, state, _, _, setter = reduced
        return self._named(name, function, (make, args, state, setter))

    def _function_by_value(self, function: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        """What a function becomes that goes by value; `reduced` is what cloudpickle makes of it."""
        return reduced

    def _wrapper(self, obj: Any) -> Any:
        """What wraps a function, and is known to pickle only by its name."""
        recipe = wrappers.RECIPES.get(type(obj), wrappers.dispatcher)
        name = naming.name_of_copy(obj) or _name_of_wrapper(obj)
        if not name.listed:
            return recipe(obj)
        by_value.adopt(name.module)
        if not (naming.is_copy(obj) or by_value.goes_by_value(name.module)):
            return NotImplemented
        make, args, state, _, _, setter = recipe(obj)
        return self._named(name, obj, (make, args, state, setter))

    def _module(self, module: ModuleType) -> Any:
        name = module.__name__
        by_value.adopt(name)
        if not by_value.goes_by_value(name) or naming.program_of(name) or name == "__main__":
            return super().reducer_override(module)
        state = {key: value for key, value in vars(module).items() if self._travels(module, key, value)}
        made = (name, hasattr(module, "__path__"), getattr(module, "__file__", None))
        return scope.make_module, made, state, None, None, scope.fill_module

    def _travels(self, module: ModuleType, key: str, value: Any) -> bool:
        """A package holds each of its modules that is imported here; only those go along that are used."""
        if key in _LEFT_OUT or self.modules is None:
            return key not in _LEFT_OUT
        inside = isinstance(value, ModuleType) and value.__name__ == f"{module.__name__}.{key}"
        return not inside or value.__name__ in self.modules or not by_value.goes_by_value(value.__name__)

    def _method(self, method: MethodType) -> Any:
        """A bound method is its object's, whichever class that has where it arrives."""
        holder, name = method.__self__, method.__func__.__name__
        if getattr(holder, name, None) == method and self._is_own(type(holder)):
            return getattr, (holder, name)
        return NotImplemented

    def _reduced_by_itself(self, obj: Any, kind: type) -> Any:
        """An object whose class says how it is pickled: perhaps by its name alone."""
        reduced = obj.__reduce_ex__(_PROTOCOL)
        if not isinstance(reduced, str):
            if not self._is_own(kind):  # an author's class may answer otherwise for its other instances
                self._ordinary.add(kind)
            return reduced
        if not self._is_own(kind) and not by_value.goes_by_value(getattr(obj, "__module__", None)):
            return NotImplemented
        name = naming.name_of_object(obj, reduced)
        return self._named(name, obj, (wrappers.bare, (kind,), wrappers.state_of(obj), wrappers.set_state))

    def _is_own(self, kind: type) -> bool:
        own = self._own.get(kind)
        if own is None:
            own = self._own[kind] = naming.is_copy(kind) or by_value.goes_by_value(kind.__module__)
        return own

    # -- references and definitions ------------------------------------------------------------------------------------

    def _named(self, name: Name, obj: Any, definition: tuple[Any, Any, Any, Any]) -> Any:
        if name.listed and not self.by_value:
            return scope.refer, (*name, _definition(obj))
        make, args, state, setter = definition
        # A class inside a function: it came with the job, so the program that reads may have one of its own.
        define = scope.define if self.by_value or not naming.is_copy(obj) else scope.define_again
        return define, (*name, make, args), (setter, state), None, None, scope.fill


def _name_of_wrapper(obj: Any) -> Name:
    module = getattr(obj, "__module__", None) or ""
    qualname = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None) or ""
    listed = naming.attribute(sys.modules.get(module), qualname) is obj
    return Name(module, naming.program_of(module), qualname, naming.this_process(), listed)


def _says_how(kind: type) -> bool:
    """A class with a `__reduce__` in Python."""
    return type(kind.__reduce__) is FunctionType or type(kind.__reduce_ex__) is FunctionType


_KINDS: dict[type, Callable[[Pickler, Any], Any]] = {
    FunctionType: lambda pickler, obj: pickler._function(obj),
    ModuleType: lambda pickler, obj: pickler._module(obj),
    MethodType: lambda pickler, obj: pickler._method(obj),
    **dict.fromkeys(wrappers.RECIPES, lambda pickler, obj: pickler._wrapper(obj)),
}


class ByValue(Pickler):
    """Pickles one value, in the mode "by value"."""

    by_value = True


def dumps_by_value(value: Any) -> bytes:
    """Return `value` pickled; the author's classes and functions in it by value. Raises what pickling raises."""
    with io.BytesIO() as file:
        ByValue(file).dump(value)
        return file.getvalue()


def _definition(obj: Any) -> bytes | None:
    """The packed definition of a class or function; None where it cannot be pickled."""
    try:
        known = _definitions.get(obj, b"")
    except TypeError:  # neither hashable nor weakly referenced
        return _packed(obj)
    if known == b"":
        known = _definitions[obj] = _packed(obj)
    return known


def _packed(obj: Any) -> bytes | None:
    try:
        with io.BytesIO() as file:
            ByValue(file).dump(obj)
            return zlib.compress(file.getvalue(), 9)
    except Exception:  # noqa: BLE001 - a class may hold what cannot be pickled; its name alone will mostly do
        return None
