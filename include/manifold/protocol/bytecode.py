"""What code says and uses, whatever file and line it stands in."""

from __future__ import annotations

import ast
import dis
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from manifold.protocol import by_value
from manifold.protocol.canonical import hashed

_HAS_DOCSTRING = 0x4000000  # a flag from Python 3.13 on; before, the first constant of a def is its docstring, or None
_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_VARIABLES = _GLOBALS | {"LOAD_DEREF", "LOAD_CLASSDEREF"}
_REBOUND = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"})
_STORES = frozenset({"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_ATTR", "DELETE_ATTR", "STORE_SLICE"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"})
_CHANGING = frozenset(
    {"append", "appendleft", "add", "update", "extend", "insert", "pop", "popleft", "popitem", "remove", "discard"}
    | {"clear", "setdefault", "sort", "reverse", "put", "put_nowait", "subtract"}
)


class Usage(NamedTuple):
    """What code refers to by name.

    Attributes:
        globals: names that it reads.
        rebound: of these and of its closure, those that it gives another value.
        assigned: those in whose values it assigns attributes or elements.
        altered: those on whose values it calls what changes a container.
        attributes: names that it takes of whatever, also by `getattr` with a text.
        imports: (level, module, names) of each import statement.
    """

    globals: frozenset[str]
    rebound: frozenset[str]
    assigned: frozenset[str]
    altered: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[tuple[int, str, tuple[str, ...]]]


@lru_cache(maxsize=4096)
def digest(code: types.CodeType) -> bytes:
    """16 bytes for what the code does."""
    shape = (
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & ~_HAS_DOCSTRING,
    )
    consts = list(code.co_consts)
    if consts and _has_docstring(code):
        consts[0] = None
    if "__firstlineno__" in code.co_names:  # the body of a class
        consts = [None if type(one) is int and one == code.co_firstlineno else one for one in consts]
    return hashed(b"c", [code.co_code, code.co_exceptiontable, repr(shape).encode(), *map(_const, consts)])


def name_of(code: types.CodeType) -> bytes:
    """What the code is called where it stands."""
    return code.co_qualname.encode()


@lru_cache(maxsize=4096)
def usage(code: types.CodeType) -> Usage:
    """What the code and all code nested in it refer to."""
    names: set[str] = set()
    rebound: set[str] = set()
    assigned: set[str] = set()
    altered: set[str] = set()
    attributes = {one for one in code.co_consts if isinstance(one, str) and one.isidentifier()}
    imports: set[tuple[int, str, tuple[str, ...]]] = set()
    at: dict[tuple[int | None, int | None], str] = {}  # where the expression begins that a variable begins
    before: list[Any] = [0, 0]
    for step in dis.get_instructions(code):
        where = (step.positions.lineno, step.positions.col_offset) if step.positions else (None, None)
        name, argument = step.opname, step.argval
        if name in _VARIABLES:
            at[where] = argument
            names |= {argument} if name in _GLOBALS else set()
        elif name in _REBOUND and (name.endswith("GLOBAL") or argument in code.co_freevars):
            rebound.add(argument)
        elif name == "IMPORT_NAME":
            imports.add((before[-2], argument, tuple(before[-1] or ())))
        elif name in _ATTRIBUTES:
            attributes.add(argument)
        if where[1] is not None and where in at:
            assigned |= {at[where]} if name in _STORES else set()
            altered |= {at[where]} if name in _ATTRIBUTES and argument in _CHANGING else set()
        if name.startswith("CALL"):  # what `table.copy()` gives is another one
            at.pop(where, None)
        if step.opname == "LOAD_CONST":
            before = [before[-1], argument]
    nested = [usage(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    return Usage(
        frozenset(names).union(*(one.globals for one in nested)),
        frozenset(rebound).union(*(one.rebound for one in nested)),
        frozenset(assigned).union(*(one.assigned for one in nested)),
        frozenset(altered).union(*(one.altered for one in nested)),
        frozenset(attributes).union(*(one.attributes for one in nested)),
        frozenset(imports).union(*(one.imports for one in nested)),
    )


def _has_docstring(code: types.CodeType) -> bool:
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    is_def = code.co_flags & inspect.CO_NEWLOCALS and not code.co_name.startswith("<")
    return bool(is_def and isinstance(code.co_consts[0], str))


def _const(value: Any) -> bytes:
    if isinstance(value, types.CodeType):
        return digest(value)
    if isinstance(value, frozenset):
        return hashed(b"s", sorted(map(_const, value)))
    if isinstance(value, tuple):
        return hashed(b"t", map(_const, value))
    return f"{type(value).__name__}:{value!r}".encode(errors="surrogatepass")


# -- modules that are imported inside functions ------------------------------------------------------------------------


def sources(imports: Iterable[tuple[int, str, tuple[str, ...]]], package: str) -> Iterator[bytes]:
    """Digests of the sources of those modules that are the author's, and of the author's modules that these import.

    By the source, because whether such a module is loaded differs between two processes.
    """
    seen: set[str] = set()
    waiting = list(_named(imports, package))
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        spec = _found(name)
        origin = None if spec is None else spec.origin
        if spec is None or origin is None or not origin.endswith(".py") or not by_value.is_own_file(origin):
            continue
        try:
            tree = ast.parse(Path(origin).read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        yield hashed(b"i", [name.encode(), ast.dump(tree).encode(errors="surrogatepass")])
        within = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        waiting += _named(_imports_of(tree), within)


def _imports_of(tree: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(one.name for one in node.names)
        elif isinstance(node, ast.Import):
            yield from ((0, one.name, ()) for one in node.names)


def _named(imports: Iterable[tuple[int, str, tuple[str, ...]]], package: str) -> Iterator[str]:
    """The modules that the imports may mean: `from a import b` means a, and perhaps a.b; with a.b.c come a and a.b."""
    for level, module, names in imports:
        try:
            whole = importlib.util.resolve_name("." * level + module, package) if level else module
        except ImportError:  # beyond the top of a package
            continue
        parts = whole.split(".")
        yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))
        yield from (f"{whole}.{name}" for name in names if name != "*")


def _found(name: str) -> ModuleSpec | None:
    """The spec of a module, found without an import of anything."""
    spec: ModuleSpec | None = None
    path = None
    for length, part in enumerate(name.split("."), 1):
        if length > 1 and path is None:
            return None
        try:
            spec = PathFinder.find_spec(".".join(name.split(".")[:length]) if part else name, path)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec
