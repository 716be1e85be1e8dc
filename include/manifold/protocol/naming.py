"""What an author's class or function is called wherever it goes, and where the reading process has it.

A class that travels by value is another object in each process. So it has a name that holds in all of them: the module
(for a script or a DAG file, whose module's name differs from process to process, the file's stem), the qualified name,
and a mark, which tells classes of one name in one process apart, as when a notebook's cell is run twice.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

log = logging.getLogger(__name__)

_DAG_FILE = re.compile(r"unusual_prefix_[0-9a-f]{40}_(.+)")  # as Airflow names the module of a DAG file
_MAIN = ("__main__", "__mp_main__")
MISSING = object()


class Name(NamedTuple):
    """Where an object is defined.

    Attributes:
        module: the module's name, in the process that defined it.
        program: the stem of the script or DAG file; "" for a module that other processes import by `module`.
        qualname: as in Python.
        mark: `process.number` of a class, `process` of anything else.
        listed: the module has it under `qualname`, so another process can find it there.
    """

    module: str
    program: str
    qualname: str
    mark: str
    listed: bool

    @property
    def key(self) -> tuple[str, str]:
        """The same in every process, for one definition."""
        return self.program or self.module, self.qualname

    @property
    def process(self) -> str:
        """The process that defined it."""
        return self.mark.partition(".")[0]


class _Process:
    """This process's token. A fork has what its parent had, and gives marks of its own from then on."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.renew()

    def renew(self) -> None:
        self.lock = threading.Lock()  # another thread of the parent may have held it
        self.token = uuid.uuid4().hex[:16]
        self.tokens.append(self.token)
        self.numbers = count(1)


_process = _Process()
os.register_at_fork(after_in_child=_process.renew)
_marks: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_originals: WeakValueDictionary[str, Any] = WeakValueDictionary()
_copies: WeakKeyDictionary[Any, Name] = WeakKeyDictionary()


def name_of(obj: Any) -> Name:
    """Return the name of a class or a function: of a copy that of its original."""
    copied = _copies.get(obj)
    if copied is not None:
        return copied
    module, qualname = obj.__module__, obj.__qualname__
    listed = attribute(sys.modules.get(module), qualname) is obj
    mark = _mark(obj) if isinstance(obj, type) else _process.token
    return Name(module or "", program_of(module), qualname, mark, listed)


def acquaint(function: Any) -> None:
    """Let classes be found that are defined inside a function, and that `function` refers to."""
    waiting, seen = [function], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, type) and "<locals>" in one.__qualname__:
            name_of(one)
        for cell in getattr(one, "__closure__", None) or ():
            with suppress(ValueError):  # not filled yet
                waiting.append(cell.cell_contents)


def name_of_object(obj: Any, qualname: str) -> Name:
    """Return the name of an object that says itself under which name its module has it."""
    copied = _copies.get(type(obj))
    module = copied.module if copied is not None else obj.__module__
    program = copied.program if copied is not None else program_of(module)
    return Name(module, program, qualname, _process.token if copied is None else copied.process, True)


def this_process() -> str:
    """Return this process's token."""
    return _process.token


def name_of_copy(obj: Any) -> Name | None:
    """Return the name of what came here by value; None for anything else."""
    return _copies.get(obj)


def is_copy(obj: Any) -> bool:
    """Return whether a class or function came here by value."""
    return obj in _copies


def remember_copy(obj: Any, name: Name) -> None:
    """Note that `obj` came here by value."""
    _copies[obj] = name


def is_from_here(name: Name) -> bool:
    """Return whether this process, or one that it was forked from, has defined it."""
    return is_this_process(name.process)


def is_this_process(token: str) -> bool:
    """Return whether that is this process's token, or one of those that it was forked from."""
    return token in _process.tokens


def original(name: Name) -> Any:
    """Return the class of this mark that this process has defined itself, or MISSING."""
    return _originals.get(name.mark, MISSING)


def living_namesake(name: Name) -> Any:
    """Return the only class of this process that is called so and cannot be found by its module, or MISSING."""
    if is_from_here(name):
        return MISSING  # it was another class of that name, and is no more
    with _process.lock:
        living = [kind for kind in _originals.values() if name_of_key(kind) == name.key]
    return living[0] if len(living) == 1 else MISSING


def name_of_key(kind: type) -> tuple[str, str]:
    """Return the key of a class of this process."""
    return program_of(kind.__module__) or kind.__module__, kind.__qualname__


def program_of(module: str | None) -> str:
    """Return the stem of the script or DAG file whose module that is; "" for all other modules."""
    if module in _MAIN:
        return _program_of_main(sys.modules.get(module))
    match = _DAG_FILE.fullmatch(module or "")
    return match[1] if match else ""


def here(name: Name) -> Any:
    """Return what this process's own modules have under a listed name, or MISSING.

    A module is imported where unpickling by name would import it, too; a script or a DAG file never is.
    """
    for module in _candidates(name):
        found = attribute(module, name.qualname)
        if found is not MISSING:
            return found
    return MISSING


def attribute(module: ModuleType | None, qualname: str) -> Any:
    """Return what a module has under a dotted name, or MISSING."""
    if module is None or "<" in qualname:
        return MISSING
    found: Any = module
    for part in qualname.split("."):
        # Not getattr for modules: one that makes attributes on demand could do anything.
        found = vars(found).get(part, MISSING) if isinstance(found, ModuleType) else getattr(found, part, MISSING)
        if found is MISSING:
            return MISSING
    return found


def _candidates(name: Name) -> Iterator[ModuleType]:
    called = name.program or name.module
    same = [sys.modules.get(name.module)]
    if name.module in _MAIN:
        same = [sys.modules.get(main) for main in _MAIN]
        same = [main for main in same if main is not None and _program_of_main(main) == name.program]
    yield from (module for module in same if module is not None)
    programs = [module for other, module in list(sys.modules.items()) if program_of(other) == called]
    with_it = {id(one): one for one in programs if attribute(one, name.qualname) is not MISSING}
    if len(with_it) == 1:  # of two DAG files of one name, either may be meant
        yield from with_it.values()
    if called != name.module and isinstance(named := sys.modules.get(called), ModuleType):
        yield named
    if not name.program and name.module not in _MAIN and (module := _imported(name.module)) is not None:
        yield module


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
    except Exception as exc:  # noqa: BLE001 - importing runs a user's code
        log.warning("module %s is here, but cannot be imported: %s: %s", name, type(exc).__name__, exc)
        return None


def _program_of_main(main: ModuleType | None) -> str:
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name not in _MAIN:  # python -m
        return str(spec.name)
    return re.sub(r"[.-]", "_", Path(file).stem) if isinstance(file, str) else ""


def _mark(kind: type) -> str:
    with _process.lock:
        mark = _marks.get(kind)
        if mark is None:
            mark = _marks[kind] = f"{_process.token}.{next(_process.numbers)}"
            _originals[mark] = kind
        return mark
