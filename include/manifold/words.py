"""How errors and reports put things into words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def a_type(value: object) -> str:
    """`a list`, `an int`: what a value is."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def counted(number: int, noun: str) -> str:
    """`1 item`, `2,000 items`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean NAME? `, or nothing where no name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""
