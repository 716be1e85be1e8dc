"""Manifold: scatter one task over millions of items on the engine you already run, and account for every one of them.

What is not needed for a plain `import manifold` is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manifold.errors import ManifoldError, RetryItem, SkipItem

if TYPE_CHECKING:
    from manifold.api import scatter
    from manifold.engines.open import open_engine
    from manifold.ledger import open_ledger
    from manifold.results.results import Results
    from manifold.sources.spool import spool
    from manifold.stores import open_store
    from manifold.worker.current import item
    from manifold.worker.perworker import per_worker

__version__ = "0.1.0"
__all__ = [
    "ManifoldError",
    "Results",
    "RetryItem",
    "SkipItem",
    "item",
    "open_engine",
    "open_ledger",
    "open_store",
    "per_worker",
    "scatter",
    "spool",
]

_LAZY = {
    "Results": "results.results",
    "open_engine": "engines.open",
    "open_ledger": "ledger",
    "item": "worker.current",
    "open_store": "stores",
    "per_worker": "worker.perworker",
    "scatter": "api",
    "spool": "sources.spool",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'manifold' has no attribute {name!r}")
    value = getattr(import_module(f"manifold.{_LAZY[name]}"), name)
    globals()[name] = value  # a submodule of the same name would stand in the way otherwise
    return value
