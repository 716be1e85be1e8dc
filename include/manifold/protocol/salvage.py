"""What can still be read of a pickled list in which some items cannot be unpickled.

A pickle is loaded as a whole or not at all: `pickle.loads` stops at the first object that its own code refuses. Here
an object that fails leaves a mark in its place and the rest is read on, so that it is known which items are affected.
It is slow, and used only where loading has failed already.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

from manifold.errors import WireError
from manifold.protocol import scope
from manifold.protocol.proof import BROKEN

_CALLS = {  # opcode: how many fewer objects are on the stack after it
    pickle.REDUCE: 1,
    pickle.BUILD: 1,
    pickle.NEWOBJ: 1,
    pickle.NEWOBJ_EX: 2,
    pickle.STACK_GLOBAL: 1,
    pickle.APPEND: 1,
    pickle.SETITEM: 2,
}
_FILLS = (pickle.APPENDS, pickle.SETITEMS, pickle.ADDITEMS)  # they take all from the last mark on


class Unreadable:
    """Stands for an object that could not be made. `reason` is what was raised."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return "(unreadable)"

    def __reduce__(self) -> Any:
        raise _Found(self.reason)

    def __call__(self, *_args: Any, **_options: Any) -> Unreadable:
        return self

    def __setstate__(self, _state: object) -> None:
        """Take nothing."""


def load_items(data: bytes) -> list[Any]:
    """Return the pickled list, with `Unreadable` in place of each item that cannot be loaded whole.

    Call it only on a payload that `envelope.unseal` returned. Raises WireError where `data` is not a pickled list.
    """
    try:
        loaded = _Tolerant(io.BytesIO(data)).load()
    except BROKEN as exc:
        raise WireError(f"the payload is not a pickle: {type(exc).__name__}: {exc}") from exc
    finally:
        scope.forget_unfilled()
    if not isinstance(loaded, list):
        raise WireError("the payload is not a pickled list")
    return [_whole(item) for item in loaded]


class _Found(Exception):
    """Raised by an `Unreadable` that is pickled."""


def _whole(item: Any) -> Any:
    if isinstance(item, Unreadable):
        return item
    try:
        pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    except _Found as found:
        return Unreadable(str(found))
    except BROKEN:
        return item  # it holds nothing that is unreadable, as far as can be seen
    return item


class _Tolerant(pickle._Unpickler):  # the one in Python, whose steps can be replaced
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)


def _shielded(load: Callable[[Any], None], fewer: int | None) -> Callable[[Any], None]:
    def shielded(self: Any) -> None:
        size = len(self.metastack[-1]) if fewer is None else len(self.stack) - fewer
        target = self.metastack[-1][-1] if fewer is None else self.stack[size - 1]
        try:
            load(self)
        except BROKEN as exc:
            mark = Unreadable(f"{type(exc).__name__}: {exc}")
            self.stack[size - 1 :] = [mark]
            for key, held in list(self.memo.items()):  # it may be shared by other items, half made
                if held is target:
                    self.memo[key] = mark

    return shielded


for _opcode, _fewer in _CALLS.items():
    _Tolerant.dispatch[_opcode[0]] = _shielded(_Tolerant.dispatch[_opcode[0]], _fewer)
for _opcode in _FILLS:
    _Tolerant.dispatch[_opcode[0]] = _shielded(_Tolerant.dispatch[_opcode[0]], None)
