"""The identity of values: a digest by what they are, the same in every process, hash seed and folder.

Pickles and reprs are none: equal values have different pickles when they share a string, sets differ with the hash
seed, and the repr of many objects holds an address. So values are walked, and each counts by what makes it equal:

* 1, True, 1.0 and "1" differ, as do "a" and b"a", a list and a tuple, 0.0 and -0.0. A dict or set has no order.
* An object of the author's own classes counts by its class and its attributes; one of an installed package by what
  pickling would take of it. Functions and classes are followed as `protocol.definitions` has it.
* What has no stable form is left out, and named in `left_out`: locks, connections, files, iterators, generators of
  random numbers. Of an object of the author's that holds one the rest counts, of an installed one nothing does.
* The cost: a container of plain values takes one call of an encoder, whatever its length, and so does what else the
  encoder knows once 200,000 elements were walked one by one. Other data costs about what pickling it costs; an object
  of a package that has more parts is left out.
"""

from __future__ import annotations

import _thread
import copyreg
import io
import os
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from functools import cached_property
from pathlib import PurePath
from typing import Any, NamedTuple

from manifold.protocol import containers, definitions
from manifold.protocol.canonical import hashed
from manifold.text import a_type

Walk = Callable[["Identity", Any], bytes]

_BASES = (int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset)
_VOLATILE = (
    Iterator,
    io.IOBase,
    random.Random,
    types.FrameType,
    types.TracebackType,
    types.CoroutineType,
    _thread.LockType,
    _thread.RLock,
)
_WEAK = (weakref.ReferenceType, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)  # caches
_VOLATILE_MODULES = ("numpy.random",)


class _Shape(NamedTuple):
    """How the objects of a class are walked.

    Attributes:
        base: what such an object is besides, such as a dict.
        slots: where it holds what does not lie in its `__dict__`.
        caches: what lies there by `cached_property`.
    """

    name: bytes
    base: Any
    pickles_itself: bool
    slots: list[tuple[str, types.MemberDescriptorType]]
    caches: set[str]


class Identity:
    """One walk. Equal values give equal bytes within walks of the same kind.

    Args:
        code: functions and classes count by their content. Without, values that hold functions have no identity, and
            classes count by name: for items, whose classes a worker may have from elsewhere.
    """

    def __init__(self, *, code: bool = True) -> None:
        self.code = code
        self.left_out: list[str] = []
        """What has no stable form, such as "a Client"."""
        self.folders: list[str] = []
        """Where the author's modules lie: paths into them count from there."""
        self._done: dict[int, tuple[Any, bytes]] = {}  # with the value, so that its id stays its own
        self._open: dict[int, int] = {}
        self.walked = 0
        self._limit = sys.maxsize
        self._walks: dict[type, Walk] = dict(containers.WALKS)
        self._shapes: dict[type, _Shape] = {}
        self._behind = definitions.Behind()

    def digest(self, *values: Any) -> str:
        """32 hex digits for these values, in this order, and for all that their functions refer to."""
        parts = [self.of(value) for value in values]
        parts += sorted(self._behind.walked(self))
        return hashed(b"|", parts).hex()

    def of(self, value: Any) -> bytes:
        """The value's bytes: short ones as they are, of others a digest."""
        kind = type(value)
        if kind in containers.PLAIN:
            return self._plain(kind, value)
        done = self._done.get(id(value))
        if done is not None:
            return done[1]
        if (above := self._open.get(id(value))) is not None:
            return b"^%d" % (len(self._open) - above)  # it holds itself
        self._open[id(value)] = len(self._open)
        try:
            walk = self._walks.get(kind)
            if walk is None:
                walk = self._walks[kind] = self._walk_for(kind)
            found = walk(self, value)
        except Exception:  # noqa: BLE001 - attributes are anybody's code; a digest never ends a scatter
            found = self.leave_out(value)
        finally:
            del self._open[id(value)]
        self._done[id(value)] = value, found
        return found

    def leave_out(self, value: Any) -> bytes:
        """It has no stable form: only its type counts."""
        self.left_out.append(a_type(value))
        return hashed(b"?", [_type_name(type(value))])

    def walks(self, elements: int) -> bool:
        """Count them; False where they are more than is walked of one object of a package."""
        self.walked += elements
        return self.walked <= self._limit

    def follow(self, function: types.FunctionType) -> None:
        """What the function refers to by name counts, too."""
        self._behind.add(function)

    # -- by type ---------------------------------------------------------------------------------------------------

    def _plain(self, kind: type, value: Any) -> bytes:
        if kind is str:
            for folder in self.folders:
                value = value.replace(folder, "\0folder")
        raw = containers.plain(value)
        return raw if len(raw) <= 64 else hashed(b"=", [raw])

    def _walk_for(self, kind: type) -> Walk:
        if kind in definitions.WALKS:
            return definitions.WALKS[kind] if self.code else Identity.leave_out
        for bases, walk in _BY_BASE:
            if issubclass(kind, bases):
                return walk
        if kind.__module__.startswith(_VOLATILE_MODULES):
            return Identity.leave_out
        return Identity._own if self._is_own(kind) else Identity._installed

    def _a_class(self, value: type) -> bytes:
        return definitions.of_class(self, value) if self.code else hashed(b"n", [_type_name(value)])

    def _enum(self, value: Enum) -> bytes:
        return hashed(b"e", [self._class(type(value)), value.name.encode(), self.of(value._value_)])

    def _path(self, value: PurePath) -> bytes:
        return hashed(b"p", [self._plain(str, os.fspath(value))])

    def _is_own(self, kind: type) -> bool:
        return not self.code or definitions.is_own(kind.__module__)

    def _class(self, kind: type) -> bytes:
        return self.of(kind) if self.code else kind.__qualname__.encode()

    def _own(self, value: Any) -> bytes:
        """An object of the author's: its class, what it is as a number, text or container, and its attributes."""
        kind = type(value)
        shape = self._shapes.get(kind)
        if shape is None:
            shape = self._shapes[kind] = self._shape(kind)
        parts = [shape.name]
        if shape.base is not None:
            parts.append(self.of(shape.base(value) if shape.base is not dict else dict(dict.items(value))))
        if shape.pickles_itself:
            parts.append(self._reduced(value))
        else:
            held = self._attributes(shape, value)
            parts += [part for name in sorted(held) for part in (name.encode(), self.of(held[name]))]
        return hashed(b"o", parts)

    def _shape(self, kind: type) -> _Shape:
        slots = [
            (name, slot)
            for base in kind.__mro__
            if self._is_own(base)
            for name, slot in vars(base).items()
            if isinstance(slot, types.MemberDescriptorType)
        ]
        caches = {name for base in kind.__mro__ for name, one in vars(base).items() if isinstance(one, cached_property)}
        base = next((one for one in _BASES if issubclass(kind, one)), None)
        return _Shape(self._class(kind), base, base is None and _pickles_itself(kind), slots, caches)

    def _attributes(self, shape: _Shape, value: Any) -> dict[str, Any]:
        """What an object holds by name, but for what it has remembered by `cached_property`."""
        held = getattr(value, "__dict__", {})
        # Not what `update_wrapper` has copied: the module's name differs with the folder of a DAG file.
        found = {
            name: one
            for name, one in held.items()
            if name not in shape.caches and (not name.startswith("__") or name == "__wrapped__")
        }
        for name, slot in shape.slots:
            with suppress(AttributeError):  # never set
                found[name] = slot.__get__(value)
        return found

    def _installed(self, value: Any) -> bytes:
        """An object of a package: as pickling takes it apart, if all of that has a stable form and is not too much."""
        known, limit = len(self.left_out), self._limit
        self._limit = min(limit, self.walked + containers.WALKED)
        found = self._reduced(value)
        self._limit = limit
        if len(self.left_out) > known:
            del self.left_out[known:]
            return self.leave_out(value)
        return found

    def _reduced(self, value: Any) -> bytes:
        try:
            registered = copyreg.dispatch_table.get(type(value))
            reduced = registered(value) if registered is not None else value.__reduce_ex__(4)
            if isinstance(reduced, str):
                return hashed(b"g", [_type_name(type(value)), reduced.encode()])
            make, args, state, items, pairs = (*reduced, None, None, None)[:5]
            parts = [make, args, state, None if items is None else list(items), None if pairs is None else dict(pairs)]
        except Exception:  # noqa: BLE001 - anybody's code; what cannot be pickled has no stable form
            return self.leave_out(value)
        if not self.code:
            parts[0] = f"{make.__module__}.{make.__qualname__}"
        return hashed(b"r", [self.of(part) for part in parts])


def _type_name(kind: type) -> bytes:
    return kind.__qualname__.encode()


def _pickles_itself(kind: Any) -> bool:
    """Somebody has said what of an object of this class is to be pickled."""
    ours = ("__reduce_ex__", "__reduce__", "__getstate__")
    return any(getattr(kind, name, None) is not getattr(object, name, None) for name in ours)


_BY_BASE: tuple[tuple[Any, Walk], ...] = (
    (type, Identity._a_class),
    (Enum, Identity._enum),
    (PurePath, Identity._path),
    (_WEAK, lambda identity, value: b"weak"),
    (_VOLATILE, Identity.leave_out),
)


def code_digest(*functions: Callable[..., Any] | None) -> str:
    """32 hex digits that change when the functions do, or what they refer to; see `protocol.definitions`."""
    return Identity().digest(*functions)
