"""Text of others, such as an item's error message, for a terminal or a log: it is seen, and does nothing there."""

from __future__ import annotations

import re

# Control characters but tab and newline; marks that turn the direction of writing; separators that end a line.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """`text`, with what would act on a terminal written as in a Python string: `\\x1b[2J`."""
    return _ACTING.sub(lambda found: ascii(found[0])[1:-1], text)


def on_one_line(text: str) -> str:
    """The same, with newlines written out too: nothing in it can pass for a line of its own."""
    return visible(text).replace("\n", "\\n")
