"""Which packages may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
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


def test_no_modules_of_the_coordinator_import_each_other_in_a_circle() -> None:
    modules = {f"manifold.coordinator.{path.stem}": path for path in (PACKAGE / "coordinator").glob("*.py")}
    graph = {
        module: {name for full in imported(path) for name in (full, full.rpartition(".")[0]) if name in modules}
        for module, path in modules.items()
    }
    assert len(graph["manifold.coordinator.start"]) > 5
    assert set(TopologicalSorter(graph).static_order()) == set(modules), "or it raises CycleError"
