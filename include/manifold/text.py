"""Text for people: how messages put things into words, and text of others made fit to be stored, sent and shown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

_WORD_ENDS = re.compile(r"(?<=\S)\s+(?=\S)")
_PART_ENDS = re.compile(r"[/\\?&=,;:|]+")
# Control characters but tab and newline; marks that turn the direction of writing; separators that end a line; and
# what nobody sees, but the two joiners that some scripts and emoji are written with.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


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


def storable(text: str) -> str:
    """Return `text` as UTF-8, JSON and every database take it, so that nobody's text can stop a scatter.

    A lone surrogate (a byte of a file name that is not UTF-8, for example) is written `\\udce9`, as Python's own
    tracebacks write it, and NUL, which PostgreSQL refuses, `\\x00`. All other text is returned as it is.
    """
    if not str.isascii(text):
        text = str.encode(text, "utf-8", "backslashreplace").decode()
    return str.replace(text, "\0", "\\x00")


def storable_all(value: Any) -> Any:
    """Return `value`, made of dicts, lists and scalars, with all text in it `storable`."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable_all(key): storable_all(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable_all(one) for one in value]
    return value


def visible(text: str) -> str:
    """`text`, with what would act on a terminal or a page, or cannot be seen, as in a Python string: `\\x1b[2J`."""
    return _ACTING.sub(lambda found: ascii(found[0])[1:-1], text)


def on_one_line(text: str) -> str:
    """The same, with newlines written out too: nothing in it can pass for a line of its own."""
    return visible(text).replace("\n", "\\n")


def duration(seconds: float | None) -> str:
    """Return `3.2 ms`, `4.5 s`, `2 min 5 s`, `3 h 12 min`, `5 d 2 h`; `?` where it is not known."""
    if seconds is None:
        return "?"
    if seconds < 0.0995:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for big, small, names in ((86_400, 3_600, ("d", "h")), (3_600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= big:
            return f"{whole // big} {names[0]} {whole % big // small} {names[1]}"
    return f"{whole} s"
