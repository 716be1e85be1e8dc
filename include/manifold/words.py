"""How errors and reports put things into words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

_WORD_ENDS = re.compile(r"(?<=\S)\s+(?=\S)")
_PART_ENDS = re.compile(r"[/\\?&=,;:|]+")


def a_type(value: object) -> str:
    """`a list`, `an int`: what a value is."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def function_name(fn: Callable[..., Any]) -> str:
    """What people call a function. Airflow loads a DAG file as `unusual_prefix_<digest>_<file>`."""
    while isinstance(fn, partial):
        fn = fn.func
    module = re.sub(r"^unusual_prefix_[0-9a-f]+_", "", getattr(fn, "__module__", None) or type(fn).__module__)
    return f"{module}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"


def counted(number: int, noun: str) -> str:
    """`1 item`, `2,000 items`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def either(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *before, last = words
    return f"{', '.join(before)} or {last}" if before else last


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean NAME? `, or nothing where no name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


def shortened(text: str, room: int) -> str:
    """Return `text` in at most `room` characters, cut where a word, or a part of a path or URL, ends; "…" is the rest.

    Only what has no such place in its second half is cut within a word.
    """
    if len(text) <= room:
        return text
    if room < 1:
        return ""
    ends = [found.start() for found in _WORD_ENDS.finditer(text, 0, room)]
    parts = [found.end() for found in _PART_ENDS.finditer(text, 0, room - 1)]
    at = next((places[-1] for places in (ends, parts) if places and places[-1] >= room // 2), room - 1)
    return f"{text[: min(at, room - 1)]}…"
