"""Code, messages and documents are written in plain technical English: words that need translation do not come back."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = {
    r"mend(s|ed|ing)?": "fix, repair",
    r"wish(es|ed)?": "control request",
    r"hand(s|ed|ing)?[ _]back": "return the existing results",
    r"afresh": "from scratch",
    r"(is|are|was|were|be|been|being)( not)? told of": "reports, is reported",
    r"(is|are|was|were|be|been|being)( last| not)? heard of": "reports, responds",
    r"a message that is (no|none)": "not a task message",
    r"nobody coordinates": "has no coordinator",
    r"the others go on": "the others continue",
    r"is no (JSON|UTF-8|URL|path|key|range|duration|database|pickle|error|violation)": "is not a …",
}
"""What is out, and what stands there instead."""
OUT = re.compile(rf"(?<![a-z])(?:{'|'.join(f'(?:{word})' for word in WORDS)})(?![a-z])", re.IGNORECASE)
KINDS = (".py", ".md", ".ts", ".tsx", ".toml", ".yml", ".conf", ".sh", ".service")
DEPRECATED = {
    "CHANGELOG.md": {"mend", "wishes", "hand back"},
    "docs/cli.md": {"mend", "wishes"},
    "include/manifold/cli/shapes.py": {"mend", "wishes"},
    "include/manifold/views.py": {"hand back"},
    "include/manifold/web/models.py": {"wishes"},
    "include/manifold/web/routes/scatters.py": {"wishes"},
    "include/manifold/web/ui/src/types.ts": {"wishes"},
    "tests/core/test_renamed.py": {"mend", "hand back"},
    "tests/web/test_scatters.py": {"wishes"},
}
"""Former names of fields and modes, which work for one minor version."""


def texts() -> list[Path]:
    """What is checked in and written by hand, but for this file."""
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode == 0:
        found = [ROOT / name for name in told.stdout.splitlines()]
    else:  # an archive of the project
        places = ("include", "tests", "docs", "dags", "deploy", "benchmarks")
        found = [*ROOT.glob("*.*"), *(path for place in places for path in (ROOT / place).rglob("*"))]
    here = [path for path in found if path.suffix in KINDS and "node_modules" not in path.parts and path.is_file()]
    return [path for path in here if path != Path(__file__).resolve()]


def test_no_word_of_the_list_is_used() -> None:
    found = []
    for path in texts():
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            words = {match[0].lower() for match in OUT.finditer(line)} - DEPRECATED.get(name, set())
            found += [f"{name}:{number}: {word!r} in {line.strip()!r}" for word in sorted(words)]
    assert not found, "\n".join(["write as the documentation of Python does:", *found])


@pytest.mark.parametrize("name", DEPRECATED)
def test_each_exception_is_still_one(name: str) -> None:
    text = (ROOT / name).read_text()
    assert {word for word in DEPRECATED[name] if re.search(rf"\b{word}\b", text)} == DEPRECATED[name]


@pytest.mark.parametrize("line", ["Mend it.", "one of the wishes", "it is told of each", "begins afresh", "HAND_BACK"])
def test_the_words_are_found(line: str) -> None:
    assert OUT.search(line)


@pytest.mark.parametrize("line", ["recommended", "a beforehand backup", "it told of", "is no more than", "dismayed"])
def test_other_words_are_not(line: str) -> None:
    assert not OUT.search(line)
