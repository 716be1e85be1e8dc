"""Text of others, such as an item's error message: fit to be stored and sent, and harmless where it is shown."""

from __future__ import annotations

import re
from typing import Any

# Control characters but tab and newline; marks that turn the direction of writing; separators that end a line; and
# what nobody sees, but the two joiners that some scripts and emoji are written with.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


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
