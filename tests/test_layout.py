"""Which packages may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import manifold

PACKAGE = Path(manifold.__file__).parent
APART = [("web", "cli"), ("cli", "web"), ("coordinator", "airflow"), ("worker", "coordinator"), ("results", "cli")]
"""A package, and one that it must not import, also not within a function."""


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("package", "other"), APART)
def test_a_package_does_not_import_another(package: str, other: str) -> None:
    files = sorted((PACKAGE / package).rglob("*.py"))
    assert files
    found = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in files
        for name in imported(path)
        if f"{name}.".startswith(f"manifold.{other}.")
    ]
    assert found == []
