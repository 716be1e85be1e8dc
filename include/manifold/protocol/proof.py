"""Pickles that are known to load again: what a worker commits as succeeded, a reader must be able to read.

Many objects can be pickled and then not be made again: an exception whose `__init__` wants two arguments is the usual
one. Plain data (numbers, text, dates, containers of them, arrays) always loads, and costs nothing here; so do objects
of classes that leave pickling to Python, such as most dataclasses. Where the pickler met anything else, the pickle is
loaded once, in the process that made it. What is not installed where the results are read, no worker can know.
"""

from __future__ import annotations

import collections
import copyreg
import datetime
import decimal
import fractions
import io
import ipaddress
import pathlib
import pickle  # nosec B403 # only its exception
import signal
import threading
import types
import uuid
from contextlib import suppress
from typing import Any

from manifold.protocol import pickler, scope

_AS_OBJECT = ("__new__", "__reduce__", "__reduce_ex__", "__getstate__", "__getattribute__")
_NEW_ARGUMENTS = ("__getnewargs__", "__getnewargs_ex__")

_MODULES = ("numpy", "dataclasses", "typing", "types")
"""Whose objects load: arrays, and what definitions of classes are made of."""

BROKEN = (Exception, SystemExit, GeneratorExit)
"""What code of a user's may raise while it pickles or unpickles, without a signal being the reason."""

_PLAIN = frozenset(
    {
        *(type(None), bool, int, float, complex, str, bytes, bytearray),
        *(list, tuple, dict, set, frozenset, range, slice),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
        *(decimal.Decimal, fractions.Fraction, uuid.UUID, uuid.SafeUUID),
        *(collections.OrderedDict, collections.Counter, collections.deque, collections.defaultdict),
        *(pathlib.PurePosixPath, pathlib.PosixPath, pathlib.PurePath),
        *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network),
    }
)
_CODE = frozenset(
    {
        *(types.FunctionType, types.BuiltinFunctionType, types.CodeType, types.CellType, types.ModuleType),
        *(type, property, classmethod, staticmethod, types.MappingProxyType, types.GenericAlias, types.UnionType),
    }
)
"""What functions and classes are made of: a worker that has pickled them can make them again."""


class Unloadable(Exception):
    """The value can be pickled; its cause says why it cannot be unpickled."""


def dumps(value: Any) -> bytes:
    """Return `value` pickled as `envelope.dumps` does. Raises what pickling raises, or Unloadable."""
    with io.BytesIO() as file:
        noting = _Noting(file)
        try:
            noting.dump(value)
        except BROKEN:
            raise
        except BaseException as exc:
            pass_on(exc)
            raise pickle.PicklingError(_said(exc)) from exc
        data = file.getvalue()
    if noting.doubtful:
        try:
            scope.loads(data)
        except BaseException as exc:
            pass_on(exc)
            raise Unloadable(_said(exc)) from exc
    return data


def pass_on(exc: BaseException) -> None:
    """Raise `exc`, from a user's code that is not an item's, where it is a Ctrl-C for all that can be known."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(exc, KeyboardInterrupt) and in_main_thread and default:
        raise exc


def _said(exc: BaseException) -> str:
    with suppress(Exception):  # its text is a user's code, too
        return f"{type(exc).__name__}: {exc}"
    return type(exc).__name__


def trouble(value: Any) -> str | None:
    """Return why nobody could read `value`, in words that follow its name; None where all is well."""
    try:
        dumps(value)
    except Unloadable as exc:
        return (
            f"can be pickled, but not be unpickled again ({exc}): nobody could read it. Give its class a __reduce__ "
            "that fits its __init__, or use plain data, such as a dict or str(…)"
        )
    except BROKEN as exc:
        return f"cannot be pickled: {exc}. Use what it holds as plain data instead"
    return None


class _Noting(pickler.Pickler):
    """Notes whether it met anything that may not load."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.doubtful = False
        self._sure: dict[type, bool] = {}

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _PLAIN or (kind is type and obj in _PLAIN):
            return NotImplemented
        if not self.doubtful:
            sure = self._sure.get(kind)
            if sure is None:
                sure = self._sure[kind] = kind in _CODE or _is_of_theirs(kind) or _is_ordinary(kind)
            self.doubtful = not sure
        return super().reducer_override(obj)


def _is_of_theirs(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] in _MODULES


def _hashes_late(kind: type) -> bool:
    """Hashing runs no code of its own, or is that of a frozen object, which is filled before it goes into a set."""
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    return bool(frozen) or getattr(kind, "__hash__", None) in (None, object.__hash__)


def _is_ordinary(kind: type) -> bool:
    """Unpickling makes its objects by `object.__new__` and fills their `__dict__`: no code of the class runs."""
    return (
        type(kind) is type
        and all(getattr(kind, name) is getattr(object, name) for name in _AS_OBJECT)
        and _hashes_late(kind)
        and kind not in copyreg.dispatch_table
        and not any(hasattr(kind, name) for name in ("__setstate__", "__getattr__", "__slots__", *_NEW_ARGUMENTS))
    )
