"""Results and exceptions as bytes, for engines whose calls run in another process."""

from __future__ import annotations

import pickle
from traceback import format_exception
from typing import Any

import cloudpickle

from manifold.errors import Unpicklable
from manifold.text import a_type


class RemoteTraceback(Exception):
    """The traceback that a worker saw, as the cause of an exception that came from there."""

    def __str__(self) -> str:
        return f"in a worker process:\n\n{self.args[0]}"


def dump_value(value: Any) -> bytes:
    """A result, pickled. Raises Unpicklable, which names its type and the reason."""
    try:
        return cloudpickle.dumps(value)  # type: ignore[no-any-return]
    except Exception as exc:
        raise Unpicklable(f"the result, {a_type(value)}, cannot be pickled: {exc}") from exc


def dump_error(exc: BaseException) -> bytes:
    """An exception with its traceback as text; one that would not come back is replaced by Unpicklable."""
    text = "".join(format_exception(exc))
    try:
        pickled: bytes = cloudpickle.dumps((exc, text))
        # Many exceptions can be pickled and then not be made again.
        pickle.loads(pickled)  # nosec B301 # made one line above
    except Exception:  # noqa: BLE001 - pickling runs a user's code
        stand_in = Unpicklable(f"the call raised {type(exc).__name__}, which cannot be pickled: {exc}")
        return cloudpickle.dumps((stand_in, text))  # type: ignore[no-any-return]
    return pickled


def load_error(pickled: bytes) -> BaseException:
    """The exception again, with the worker's traceback as its cause. Raises what unpickling raises."""
    exc, text = pickle.loads(pickled)  # nosec B301 # of a sealed answer, or of a frame whose mark is right
    assert isinstance(exc, BaseException)
    exc.__cause__ = RemoteTraceback(text)
    return exc
