"""Exceptions that are named instead of given as classes (`retry_on="requests.ConnectionError"`): checked, and matched.

A name says which class it means as an `import` would: `asyncio.TimeoutError` is the builtin TimeoutError, and
`json.JSONDecodeError` the class of `json.decoder`.

* When an option is read, a name must name something. That costs no import of a package that is not imported yet, if
  the source of the module shows the name; otherwise the module is imported.
* When an item has failed, the worker resolves the name to the class and asks `isinstance`.
* A bare name (`Timeout`) means a builtin, or any class that is called so and was defined when the option was read;
  `*.Timeout` any class that is called so, wherever it comes from, and is not checked: for what only workers have.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from typing import Self

from manifold.errors import ConfigError
from manifold.text import did_you_mean

_ANYWHERE = "*."
_NAME = re.compile(r"(\*\.)?[^\W\d]\w*(\.[^\W\d]\w*)*")
_AIRFLOWS = re.compile(r"^unusual_prefix_[0-9a-f]+_")  # how Airflow names the module of a DAG file


class CheckedName(str):
    """The name of an exception that was found to name something, so that nobody need ask again.

    `meant` is what the class itself is called, where that was seen: workers need not have the module of an alias.
    """

    meant: str

    def __new__(cls, name: str, meant: str = "") -> Self:
        made = super().__new__(cls, name)
        made.meant = meant
        return made


def checked(option: str, value: object) -> tuple[str | type[BaseException], ...]:
    """The exception classes, and names of such, that `value` holds: one of them, or several.

    Raises ConfigError for anything else, and for a name that names nothing.
    """
    many = (value,) if isinstance(value, (str, type)) else value
    if not isinstance(many, Iterable):
        raise ConfigError(f"{option}={value!r} must be exception classes or their names")
    found: list[str | type[BaseException]] = []
    for one in many:
        if isinstance(one, str):
            found.append(one if isinstance(one, CheckedName) else _checked_name(option, one))
        elif isinstance(one, type) and issubclass(one, BaseException):
            found.append(one)
        else:
            raise ConfigError(f"{option}={value!r} must be exception classes or their names; {one!r} is neither")
    return tuple(found)


def is_named(exc: BaseException, wanted: Sequence[str | type[BaseException]]) -> bool:
    """`exc` is an instance of one of these classes, or of a class that one of these names means."""
    return any(isinstance(exc, one) if isinstance(one, type) else _is_called(exc, one) for one in wanted)


def _is_called(exc: BaseException, name: str) -> bool:
    # As it is written, too: a class that a library makes while it runs is found in no module.
    names = {name.removeprefix(_ANYWHERE), getattr(name, "meant", "")}
    if any(not names.isdisjoint((kind.__name__, _own_name(kind))) for kind in type(exc).__mro__):
        return True
    meant = None if name.startswith(_ANYWHERE) else _resolved(name)
    return isinstance(meant, type) and isinstance(exc, meant)


def _checked_name(option: str, name: str) -> CheckedName:
    shown = f"{option}={name!r}"
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{shown} is not the name of an exception: write module.Class; for several, a tuple of names")
    module, _, cls = name.rpartition(".")
    if module == "*":
        return CheckedName(name)
    if not module:
        if _is_exception(getattr(builtins, name, None)) or name in {kind.__name__ for kind in _defined()}:
            return CheckedName(name)
        known = {kind.__name__ for kind in _defined()}
        raise ConfigError(f"{shown} names no exception that is defined here; {did_you_mean(name, known)}{_advice(cls)}")
    if (shows := _shown_by_source(name)) is None or (not shows and _resolved(name) is None):
        raise ConfigError(f"{shown} names nothing here: {_missing(module, cls)}. {_advice(cls)}")
    meant = _resolved(name, load=False)
    if isinstance(meant, type) and issubclass(meant, BaseException):
        return CheckedName(name, _own_name(meant))
    if meant is not None:
        raise ConfigError(f"{shown} is not an exception class, but {meant!r}")
    return CheckedName(name)


def _advice(cls: str) -> str:
    return (
        f"Write it with its module, as in an import (module.{cls}), or give the class itself; where only the workers "
        f"have its package, '*.{cls}' means any class of that name"
    )


def _missing(module: str, cls: str) -> str:
    top = module.partition(".")[0]
    if top not in sys.modules and _spec(top) is None:
        return f"there is no module {top!r}"
    loaded = sys.modules.get(module)
    near = did_you_mean(cls, vars(loaded)).strip() if loaded is not None else ""
    return f"{module!r} has no {cls}" + (f" ({near})" if near else "")


def _own_name(kind: type) -> str:
    return f"{_AIRFLOWS.sub('', kind.__module__)}.{kind.__qualname__}"


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


def _defined() -> Iterator[type[BaseException]]:
    """Every exception class of this process."""
    seen: set[type[BaseException]] = set()
    waiting: list[type[BaseException]] = [BaseException]
    while waiting:
        kind = waiting.pop()
        if kind not in seen:
            seen.add(kind)
            yield kind
            waiting += type.__subclasses__(kind)


# -- what a dotted name means ------------------------------------------------------------------------------------------


def _resolved(name: str, *, load: bool = True) -> object:
    """What `name` means in this process; None for nothing. `load` imports its module."""
    module, _, _ = name.rpartition(".")
    if not module:
        return getattr(builtins, name, None)
    found = _by_attributes(name)
    if found is None and load and _loaded(module):
        found = _by_attributes(name)
    return found


def _by_attributes(name: str) -> object:
    """What `name` means with the modules that are imported already."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found: object = sys.modules.get(".".join(parts[:length]))
        if found is not None:
            with suppress(Exception):  # a module's __getattr__ is anybody's code
                for part in parts[length:]:
                    found = getattr(found, part)
                return found
    return None


@lru_cache(maxsize=256)
def _loaded(module: str) -> bool:
    """Import as much of `module` as is one; a class may stand in a class."""
    while module:
        try:
            importlib.import_module(module)
            return True
        except ModuleNotFoundError:
            module = module.rpartition(".")[0]
        except Exception:  # noqa: BLE001 - importing runs anybody's code
            return False
    return False


def _shown_by_source(name: str) -> bool | None:
    """True if the source of its module binds the name; False if only an import can tell; None: there is no module."""
    parts = name.split(".")
    top = parts[0]
    if top in sys.stdlib_module_names or top in sys.modules:
        return False  # costs no import, or next to none
    if (spec := _spec(top)) is None:
        return None
    for at, part in enumerate(parts[1:], 1):
        below = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations or [])
        if below is None or spec.submodule_search_locations is None:
            return parts[at] in _bound(spec)
        spec = below
    return False


def _spec(top: str) -> ModuleSpec | None:
    try:
        return find_spec(top)
    except (ImportError, ValueError):  # a module without a spec
        return None


def _bound(spec: ModuleSpec) -> set[str]:
    """The names that the source of a module binds for sure."""
    if spec.origin is None or not spec.origin.endswith(".py"):
        return set()
    try:
        with open(spec.origin, "rb") as file:
            body = ast.parse(file.read()).body
    except (OSError, SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.ImportFrom):
            names |= {one.asname or one.name for one in statement.names}
    return names
