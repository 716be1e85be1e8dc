"""Which tests share a process when several run at once (pytest-xdist): those that share servers."""

from __future__ import annotations

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_STACKS = ("demo", "airflow/test_stack.py", "web/browser")
"""Each starts all of Airflow, on its usual ports where these are free: one after the other."""
_FOLDERS = ("airflow", "celery", "compose", "dags", "faults", "metrics", "security", "web")
"""What the tests of such a folder share takes long to start."""


def group(item: pytest.Item) -> str:
    """The name of the group of a test: its stack, its folder and what server it is about, or else its file."""
    path = item.path.relative_to(_TESTS).as_posix()
    if path.startswith(_STACKS):
        return "stack"
    folder = path.partition("/")[0]
    if folder not in _FOLDERS:
        return path
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    server = params.get("broker") or params.get("cluster") or ""
    return f"{folder} {server}"
