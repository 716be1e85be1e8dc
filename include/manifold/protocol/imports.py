"""The author's modules that code imports when it runs: found in its bytecode, without importing anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dis import get_instructions
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, ModuleType

from manifold.protocol import by_value
from manifold.protocol.scope import Source

_DOTTED = re.compile(r"\.*[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_BY_STRING = ("import_module", "__import__")


def imports(code: CodeType, package: str) -> Iterator[str]:
    """Yield the names of all modules that this code, or code nested in it, may import.

    `from a import b` may mean a module a.b. A text that stands beside a call of `import_module` may be a name.
    """
    loaded: list[object] = []
    for instruction in get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, names = loaded[-2:] if len(loaded) > 1 else (0, None)
            base = _absolute("." * level + instruction.argval if isinstance(level, int) else "", package)
            yield from [base, *(f"{base}.{name}" for name in names or ())] if base else ()  # type: ignore[attr-defined]
        elif instruction.opname.startswith("LOAD_"):
            loaded.append(instruction.argval)
    texts = [const for const in code.co_consts if isinstance(const, str)]
    if any(name in code.co_names for name in _BY_STRING):
        yield from filter(None, (_absolute(text, package) for text in texts if _DOTTED.fullmatch(text)))
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from imports(const, package)


def with_parents(names: Iterable[str]) -> set[str]:
    """Return the names and the packages that they are in."""
    return {".".join(name.split(".")[: depth + 1]) for name in names for depth in range(name.count(".") + 1)}


def loaded_module(name: str, below: list[Path]) -> ModuleType | None:
    """Return a module of the author's that is imported."""
    module = sys.modules.get(name)
    return module if isinstance(module, ModuleType) and by_value.is_below(below, module) else None


def source_of(name: str, below: list[Path]) -> Source | None:
    """Return the source file of a module of the author's, wherever an import would find it; None for any other."""
    path, spec, so_far = None, None, ""
    for part in name.split("."):
        so_far = f"{so_far}.{part}".lstrip(".")
        spec = PathFinder.find_spec(so_far, path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    if spec is None:
        return None
    if spec.origin is None or spec.loader is None:  # a package without __init__
        folder = next(iter(spec.submodule_search_locations or ()), None)
        return Source(folder, True, b"") if folder and by_value.is_authors(below, by_value.resolved(folder)) else None
    if not isinstance(spec.loader, SourceFileLoader) or not by_value.is_authors(below, by_value.resolved(spec.origin)):
        return None
    return Source(spec.origin, path is not None, Path(spec.origin).read_bytes())


def compiled(source: Source) -> CodeType:
    """Return a module's code. Raises SyntaxError."""
    return compile(source.text, source.file, "exec", dont_inherit=True)


def package_of(name: str, package: bool) -> str:
    return name if package else name.rpartition(".")[0]


def _absolute(name: str, package: str) -> str:
    """The whole name of a module; "" where it leads out of its package."""
    if not name.startswith("."):
        return name
    try:
        return resolve_name(name, package) if package else ""
    except ImportError:
        return ""
