"""Which tests share a process when several run at once (pytest-xdist): those that share servers.

Its own `--dist loadgroup` does nothing under pytest 9.2, whose ids of tests cannot be changed.
"""

from __future__ import annotations

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling

_STACKS = ("demo/", "airflow/test_stack.py", "web/browser/")
"""Each starts all of Airflow, on its usual ports where these are free: one after the other."""
_FOLDERS = ("airflow", "celery", "compose", "dags", "faults", "metrics", "security", "web")
"""What the tests of such a folder share takes long to start."""
_LONGEST = ("stack", "simulation/test_simulation.py", "celery redis", "celery rabbitmq", "faults", "web", "security")
"""Begun first: at the end all would wait for one of them."""


class ByServers(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Deals out whole groups."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def remove_node(self, node: Any) -> str | None:
        """The test at which `node` ended, if any. It is not run again, for it would end the next process, too."""
        units = self.assigned_work[node]
        running = next((one for unit in units.values() for one, done in unit.items() if not done), None)
        for unit in units.values():
            if running in unit:
                unit[running] = True
        self.assigned_work[node] = {scope: unit for scope, unit in units.items() if not all(unit.values())}
        super().remove_node(node)
        return running


def order(nodeid: str) -> int:
    """Sorts tests by when they are to begin."""
    name = group(nodeid)
    return next((at for at, one in enumerate(_LONGEST) if name.startswith(one)), len(_LONGEST))


def group(nodeid: str) -> str:
    """The name of a test's group: its stack, its folder and the server it is about, or else its file."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    if path.startswith(_STACKS):
        return "stack"
    folder = path.partition("/")[0]
    if path == "contracts/test_engines.py" or folder == "remote":
        scheme = re.search(r"\[(\w+)", nodeid)
        return f"{folder} {scheme[1]}" if scheme else path
    if folder not in _FOLDERS:
        return path
    server = re.search(r"\[.*?(\w+://|redis|rabbitmq|processes)", nodeid)
    return f"{folder} {server[1]}" if server else folder
