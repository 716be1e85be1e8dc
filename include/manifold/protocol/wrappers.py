"""How wrappers of functions travel that Python pickles by their name alone, or not at all."""

from __future__ import annotations

import functools
import threading
import typing
from collections.abc import Callable
from typing import Any

_CACHE = frozenset({"__wrapped__", "cache_parameters", "__module__", "__name__", "__qualname__", "__doc__"})
_DISPATCHER = frozenset({"__wrapped__", "register", "dispatch", "registry", "_clear_cache"})
_LOCKS_PROPERTIES = hasattr(functools.cached_property(len), "lock")  # until Python 3.11

DISPATCH = functools.singledispatch(len).__code__  # type: ignore[attr-defined]
"""The code of every function that `functools.singledispatch` makes."""


def cached(wrapper: Any) -> tuple[Any, ...]:
    """An `lru_cache`, empty again."""
    state = {name: value for name, value in vars(wrapper).items() if name not in _CACHE}
    return make_cached, (wrapper.__wrapped__, *wrapper.cache_parameters().values()), state, None, None, set_attributes


def make_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def dispatcher(wrapper: Any) -> tuple[Any, ...]:
    """A `singledispatch` function, with all that is registered."""
    attributes = {name: value for name, value in vars(wrapper).items() if name not in _DISPATCHER}
    names = {name: getattr(wrapper, name) for name in functools.WRAPPER_ASSIGNMENTS}
    state = (list(wrapper.registry.items()), names | attributes, wrapper.__wrapped__)
    return make_dispatcher, (wrapper.__name__,), state, None, None, register_all


def make_dispatcher(name: str) -> Any:
    def unfilled(*_: Any) -> None: ...

    unfilled.__name__ = name
    return functools.singledispatch(unfilled)


def register_all(wrapper: Any, state: tuple[list[tuple[type, Any]], dict[str, Any], Any]) -> None:
    registered, attributes, wrapped = state
    for kind, function in registered:
        wrapper.register(kind, function)
    set_attributes(wrapper, attributes | {"__wrapped__": wrapped})


def cached_property(prop: Any) -> tuple[Any, ...]:
    """A `cached_property`, whose lock stays here."""
    state = {name: value for name, value in vars(prop).items() if name != "lock"}
    return make_property, (type(prop),), state, None, None, set_attributes


def make_property(kind: Any) -> Any:
    prop = kind.__new__(kind)
    if _LOCKS_PROPERTIES:
        prop.lock = threading.RLock()
    return prop


def new_type(kind: Any) -> tuple[Any, ...]:
    """A `typing.NewType`."""
    return (
        typing.NewType,
        (kind.__name__, kind.__supertype__),
        {"__module__": kind.__module__},
        None,
        None,
        set_attributes,
    )


def type_parameter(parameter: Any) -> tuple[Any, ...]:
    """A `ParamSpec` or `TypeVarTuple`."""
    return type(parameter), (parameter.__name__,), {}, None, None, set_attributes


def bare(kind: type) -> Any:
    """An object of a class, without its `__init__`."""
    return object.__new__(kind)


def state_of(obj: Any) -> Any:
    return obj.__getstate__()


def set_state(obj: Any, state: Any) -> None:
    if state is None:
        return
    if hasattr(obj, "__setstate__"):
        obj.__setstate__(state)
        return
    of_dict, of_slots = state if isinstance(state, tuple) else (state, None)
    vars(obj).update(of_dict or {})
    set_attributes(obj, of_slots or {})


def set_attributes(obj: Any, attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(obj, name, value)


RECIPES: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    functools._lru_cache_wrapper: cached,
    functools.cached_property: cached_property,
    typing.NewType: new_type,
    typing.ParamSpec: type_parameter,
    typing.TypeVarTuple: type_parameter,
}
"""By type: (maker, arguments, state, None, None, setter of the state)."""
