"""The tables of docs/options.md, made of what `manifold.policy.Policy` says of itself.

`python -m tests.docs.options` writes them into the page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from manifold.policy import Policy

from .markdown import between

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def tables() -> str:
    """A heading and a table for each group of options, in the order of the docstring."""
    defaults = {field.name: field.default for field in fields(Policy)}
    parts = []
    for heading, options in _groups():
        rows = []
        for names, text in options:
            shown = {_shown(defaults.pop(name)): None for name in names}
            rows.append(f"| {_code(names)} | {_code(shown)} | {text} |")
        parts.append("\n".join([f"## {heading}", "", "| option | default | meaning |", "|---|---|---|", *rows]))
    assert not defaults, f"the docstring of Policy leaves out {', '.join(defaults)}"
    return "\n\n".join(parts)


def page(text: str) -> str:
    """The page with its tables made anew."""
    return between(text, "options", tables())


def _groups() -> Iterator[tuple[str, list[tuple[list[str], str]]]]:
    """(heading, [(options, meaning)]): a paragraph that begins with a line ending in a colon, then `names: meaning`."""
    for paragraph in (inspect.getdoc(Policy) or "").split("\n\n"):
        heading, _, body = paragraph.partition("\n")
        if not heading.endswith(":"):
            continue
        found = []
        for entry in re.split(r"\n(?=    \S)", f"\n{body}")[1:]:
            names, _, meaning = " ".join(entry.split()).partition(": ")
            found.append((names.split(", "), _markdown(meaning)))
        yield heading.removesuffix(":"), found


def _markdown(text: str) -> str:
    return (text[0].upper() + text[1:]).replace("|", "\\|")


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shown(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else f"{default!r}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
