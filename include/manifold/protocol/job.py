"""The job: what every chunk of a scatter runs. It travels once to each worker process, then goes by its digest."""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from manifold.policy import NAMED_ERRORS, Policy


@dataclass(frozen=True, slots=True)
class Job:
    """A function, its constants, and the options that a worker acts on.

    Args:
        names: the keywords that an item goes by; None passes it as the only positional argument. With several
            names an item is a tuple in their order.
        consts: the same for every item; `per_worker` values are made by the worker.
    """

    fn: Callable[..., Any]
    names: tuple[str, ...] | None = None
    consts: Mapping[str, Any] = field(default_factory=dict)
    item_retries: int = 0
    retry_on: tuple[NAMED_ERRORS, ...] = ()
    no_retry_on: tuple[NAMED_ERRORS, ...] = ()
    item_backoff: float = 0.0
    item_timeout: float | None = None
    key: Callable[[Any], object] | str | None = None
    reduce: Callable[[Any, Any], Any] | None = None
    initial: Any = None
    async_concurrency: int = 100
    log_lines: int = 100
    keep_logs: bool = False

    @classmethod
    def of(
        cls, fn: Callable[..., Any], names: tuple[str, ...] | None, consts: Mapping[str, Any], policy: Policy
    ) -> Job:
        """The job of a policy."""
        shared = ("item_retries", "retry_on", "no_retry_on", "item_backoff", "item_timeout", "key", "reduce", "initial")
        options = {name: getattr(policy, name) for name in (*shared, "async_concurrency", "log_lines", "keep_logs")}
        return cls(fn=fn, names=names, consts=dict(consts), **options)

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(inspect.unwrap(self.fn))

    def bind(self, consts: Mapping[str, Any]) -> Callable[[Any], Any]:
        """The function of one item, with constants as given; the bare function where there is nothing to add."""
        call = partial(self.fn, **consts) if consts else self.fn
        if self.names is None:
            return call
        if len(self.names) == 1:
            name = self.names[0]
            return lambda item: call(**{name: item})
        names = self.names
        return lambda item: call(**dict(zip(names, item, strict=True)))

    def label(self, item: Any) -> str | None:
        """The item's name for people, by `key`; a key that fails is no failure of the item."""
        if self.key is None:
            return None
        try:
            named = item if self.names is None or len(self.names) == 1 else dict(zip(self.names, item, strict=True))
            return str(named[self.key] if isinstance(self.key, str) else self.key(named))[:200]
        except Exception as exc:  # noqa: BLE001 - a label only
            return f"(key failed: {type(exc).__name__})"


def code_digest(*functions: Callable[..., Any] | None) -> str:
    """A digest that changes when the functions' code does, but not with a move to another file, line or process.

    It follows nested functions, defaults, closures, and the functions of the same module that are called by name;
    not what other modules define.
    """
    hasher = hashlib.sha256()
    seen: set[int] = set()
    for fn in functions:
        hasher.update(b"|")
        if fn is not None:
            _add(hasher, inspect.unwrap(fn), seen)
    return hasher.hexdigest()


def _add(hasher: Any, value: Any, seen: set[int]) -> None:
    while isinstance(value, partial):
        hasher.update(repr((value.args, sorted(value.keywords))).encode())
        value = value.func
    value = getattr(value, "__func__", value)
    if not isinstance(value, types.FunctionType):
        kind = type(value) if not isinstance(value, type) else value
        hasher.update(f"{kind.__module__}.{kind.__qualname__}".encode())
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    _add_code(hasher, value.__code__)
    hasher.update(_stable((value.__defaults__, value.__kwdefaults__)))
    for cell in value.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:  # not filled yet
            continue
        _add_value(hasher, held, seen)
    for name in _global_names(value.__code__):
        held = value.__globals__.get(name)
        if isinstance(held, types.FunctionType) and held.__module__ == value.__module__:
            _add(hasher, held, seen)


def _add_value(hasher: Any, value: Any, seen: set[int]) -> None:
    if isinstance(value, (types.FunctionType, partial)):
        _add(hasher, value, seen)
    else:
        hasher.update(_stable(value))


def _add_code(hasher: Any, code: types.CodeType) -> None:
    hasher.update(code.co_code)
    hasher.update(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_flags)).encode())
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            _add_code(hasher, const)
        else:
            hasher.update(_stable(const))


def _global_names(code: types.CodeType) -> set[str]:
    nested = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*(_global_names(const) for const in nested))


def _stable(value: Any) -> bytes:
    """A repr without addresses and without the order of a set's hash seed."""
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(repr, value))).encode()
    if isinstance(value, (str, bytes, int, float, complex, bool, type(None))):
        return repr(value).encode()
    if isinstance(value, (tuple, list)):
        return b"(" + b",".join(map(_stable, value)) + b")"
    if isinstance(value, dict):
        return b"{" + b",".join(sorted(_stable(k) + b":" + _stable(v) for k, v in value.items())) + b"}"
    return f"{type(value).__module__}.{type(value).__qualname__}".encode()
