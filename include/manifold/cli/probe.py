"""What `manifold doctor` sends to a worker, to see with its eyes. Imports little: the worker does it, too."""

from __future__ import annotations

import os
import platform
from typing import Any

import manifold


def seen_by_worker(key: str) -> dict[str, Any]:
    """Who the worker is, and whether the store that it knows holds `key`; `trouble` says why not."""
    from manifold.errors import ManifoldError
    from manifold.stores import open_store

    trouble = None
    try:
        store = open_store()
        try:
            store.get(key)
        finally:
            store.close()
    except ManifoldError as exc:
        trouble = str(exc)
    return {"host": platform.node(), "pid": os.getpid(), "version": manifold.__version__, "trouble": trouble}
