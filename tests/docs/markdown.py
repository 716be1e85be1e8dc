"""The code blocks of a page, and what is to be done with each.

A block of `python` or `bash` is run, in the order of its page. A block of `text` right after it is what it printed,
where `…` stands for anything. A comment right above a block says otherwise:

| comment | the block |
|---|---|
| `<!-- test: names -->` | is not run; the commands, options and targets in it exist |
| `<!-- test: file NAME -->` | is saved under this name, for the blocks after it |
| `<!-- test: dag ID -->` | is a DAG file; `airflow dags test ID` runs it |
| `<!-- test: log of ID -->` | are lines that this DAG's run prints |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *(page for page in DOCS if page.name not in ("adapters.md", "cli.md"))]
"""The pages whose blocks are run here. The other two have tests of their own."""
ALL = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS]

_MARKER = re.compile(r"<!-- test: (.*) -->")


@dataclass(frozen=True)
class Block:
    """One code block. `how` is what the comment above it says, `line` where it begins."""

    page: Path
    line: int
    language: str
    how: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, from top to bottom."""
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].startswith("```"):
            at += 1
            continue
        end = lines.index("```", at + 1)
        marker = _MARKER.fullmatch(lines[at - 1]) if at else None
        how = marker[1] if marker else ""
        yield Block(page, at + 1, lines[at].removeprefix("```"), how, "\n".join(lines[at + 1 : end]) + "\n")
        at = end + 1


def between(text: str, name: str, made: str) -> str:
    """A page with what was made of the code between its marks, `<!-- name -->` and `<!-- end of name -->`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, found, rest = text.partition(begin)
    _, ends, tail = rest.partition(end)
    assert all((found, ends)), f"the page has no {begin} and {end}"
    return f"{head}{begin}\n{made}\n{end}{tail}"


def anchors(page: Path) -> set[str]:
    """What a link may point to within a page, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def fits(pattern: str, text: str) -> bool:
    """`text` is `pattern`, where `…` stands for anything, and spaces for any number of spaces."""
    parts = [r"\s+".join(map(re.escape, part.split(" "))) for part in pattern.strip().split("…")]
    return re.fullmatch(".*".join(parts), text.strip(), re.DOTALL) is not None
