"""What to do about errors that arise in an item because a worker is not an Airflow task, and not the script itself."""

from __future__ import annotations

import re
from collections.abc import Callable

_NO_TASK = (
    "A worker is not an Airflow task. What it is to know goes into .partial: "
    '.partial(ds="{{ ds }}", run_id="{{ run_id }}"), and manifold.item() tells its position and key'
)
_HINTS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (
        r"(?:AirflowNotFoundException|AirflowException): The conn_id `(.+?)` isn't defined",
        lambda found: f'Workers have the connections that @task.scatter(connections=["{found[1]}"]) names',
    ),
    (
        r"(?:AirflowRuntimeError: .*Variable |KeyError: .*Variable )(\S+) (?:not found|does not exist)",
        lambda found: f'Workers have the variables that @task.scatter(variables=["{found[1]}"]) names',
    ),
    (r"RuntimeError: Current context was requested but no context was found", lambda _: _NO_TASK),
    (
        r"ImportError: cannot import name 'SUPERVISOR_COMMS'|RuntimeError: Session must be set before|"
        r"AttributeError: Access to the Airflow Metadatabase|RuntimeError: Direct database access",
        lambda _: (
            "A worker is not an Airflow task: it reads the connections= and variables= of @task.scatter, and has no "
            "XCom, no database, and nothing to write to. Return the value, and write it in a task further down"
        ),
    ),
    (
        r".*(?:\[Errno (?:23|24)\]|Too many open files)",
        lambda _: (
            "This process has no file descriptor left: items leave files or connections open. Close them (`with "
            "open(...)`), or make one client for all items with per_worker"
        ),
    ),
    (
        r"PicklingError: Can't pickle <.*?: (?:it's not the same object as|attribute lookup|import of module)",
        lambda _: (
            "A pool, as pickle, finds functions and classes by name: of an installed module, or on processes:// and "
            "celery:// of one beside the script that is imported whole (`import helper`)"
        ),
    ),
)


def hint(kind: str, text: str) -> str:
    """What to do about an error of that class with that text; "" where there is nothing to say."""
    told = f"{kind.rpartition('.')[2]}: {text[:1000]}"
    for pattern, advice in _HINTS:
        if found := re.match(pattern, told, re.DOTALL):
            return advice(found)
    return ""
