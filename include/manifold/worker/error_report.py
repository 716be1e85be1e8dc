"""How an item's exception becomes a record: kind, place, a short message, a traceback trimmed to the user's frames."""

from __future__ import annotations

import hashlib
import traceback
from pathlib import Path
from types import TracebackType

from manifold.protocol.records import Failure
from manifold.redaction import MaskingRepr, longest, mask
from manifold.text import shortened, storable
from manifold.worker import hints, interrupts

_MESSAGE = 300
_TRACEBACK = 8_000
_REPR = 1_000
_KEY = 200
_LIBRARY = Path(__file__).parents[1]
_NAMES = (
    "worker/execute",
    "worker/faults",
    "worker/fold",
    "worker/packing",
    "worker/retries",
    "worker/run",
    "worker/granted",
    "worker/current",
    "worker/alarm",
    "worker/capture",
    "worker/concurrent",
    "worker/interrupts",
    "worker/loops",
    "worker/meter",
    "worker/originals",
    "worker/perworker",
    "worker/streams",
)
_OURS = {str(_LIBRARY / f"{name}.py") for name in (*_NAMES, "protocol/job")}
"""Files whose frames say nothing to a user."""

_shown = MaskingRepr()
_shown.maxstring = _shown.maxother = 200
_shown.maxdict = _shown.maxlist = _shown.maxtuple = 12


def failure(
    exc: BaseException, *, pos: int, attempts: int, item: object, key: str | None, digest: str | None
) -> tuple[Failure, str]:
    """The record of one failed item, and its traceback as text."""
    frames = _user_frames(exc.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].name}:{frames[-1].lineno}" if frames else ""
    kind = _kind(exc)
    record = Failure(
        pos=pos,
        fingerprint=hashlib.sha256(storable(f"{kind}|{place}").encode()).hexdigest()[:16],
        type=kind,
        message=shortened(storable(mask(_said(exc, _MESSAGE))), _MESSAGE),
        attempts=attempts,
        key=None if key is None else shortened(storable(mask(key[: _KEY + longest()])), _KEY),
        item_repr=mask(shown(item)),
        item_digest=digest,
    )
    return record, traceback_text(exc)


def traceback_text(exc: BaseException) -> str:
    """The traceback without Manifold's own frames and without secrets, at most 8,000 characters, its end kept."""
    lines: list[str] = []
    cause = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    if cause is not None and cause is not exc:
        lines += [*_lines(cause), "\nThe above came first, then:\n\n"]
    lines += _lines(exc)
    text = storable(mask("".join(lines)))
    return text if len(text) <= _TRACEBACK else "…\n" + text[-_TRACEBACK:]


def shown(item: object) -> str:
    """A short repr that never raises."""
    try:
        return storable(_shown.repr(item)[:_REPR])
    except BaseException as exc:  # noqa: BLE001 - a user's __repr__ may do anything
        interrupts.pass_on(exc)
        return f"<{type(item).__name__}, whose repr raises {type(exc).__name__}>"


def _lines(exc: BaseException) -> list[str]:
    frames = _user_frames(exc.__traceback__)
    head = ["Traceback (most recent call last):\n", *frames.format()] if frames else []
    return [*head, f"{_kind(exc)}: {_said(exc)}\n"]


def _user_frames(tb: TracebackType | None) -> traceback.StackSummary:
    summary = traceback.extract_tb(tb, limit=-50)
    kept = [frame for frame in summary if frame.filename not in _OURS]
    return traceback.StackSummary.from_list(kept)


def _kind(exc: BaseException) -> str:
    kind = type(exc)
    return storable(kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}")


def _said(exc: BaseException, room: int | None = None) -> str:
    """What an exception says, and what to do about it, which stands at the end also where there is little room."""
    text = _safe_str(exc)
    advice = hints.hint(_kind(exc), text)
    if not advice:
        return text
    cut = text if room is None else shortened(mask(text), room - len(advice) - 2)
    return f"{cut}{' ' if cut.endswith(('.', '!', '?', '…')) else '. '}{advice}" if cut else advice


def _safe_str(exc: BaseException) -> str:
    try:
        return str(exc)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may do anything
        interrupts.pass_on(broken)
        return f"<its str() raises {type(broken).__name__}>"
