"""Makes `import airflow` work in worker processes that were started by a running Airflow task.

A task's process points Airflow's database at a URL that no driver knows, so that tasks do not open it. Children inherit
that, and fail as soon as they import Airflow, which looks for its database at once. Airflow's own virtual-environment
operators tell their children to leave the database alone; so do workers.
"""

from __future__ import annotations

import os
import sys

_DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_BLOCKED = "airflow-db-not-allowed:"
_NO_DATABASE = "PYTHON_OPERATORS_VIRTUAL_ENV_MODE"


def allow() -> None:
    """Let this process, and those that it starts, import Airflow without its database, where the task blocks that."""
    if "airflow" not in sys.modules and os.environ.get(_DATABASE, "").startswith(_BLOCKED):
        os.environ.setdefault(_NO_DATABASE, "1")
