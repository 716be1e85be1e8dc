"""The ledger and the stores of this deployment, as the api-server reaches them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifold import settings
from manifold.abc import Store
from manifold.errors import ConfigError
from manifold.records import ScatterRow
from manifold.registry import scheme_of

if TYPE_CHECKING:
    from manifold.ledger import Ledger

CONNECTIONS = 5
PATIENCE = 3.0
"""Seconds that a request waits for a ledger that is away: people look at a page, and the next poll asks again."""

_lock = threading.Lock()
_opened: Ledger | None = None


def ledger() -> Ledger:
    """The deployment's ledger: opened when first asked for, once in this process, and shared by its threads.

    Raises ConfigError or LedgerError, with what to do; the next call tries again.
    """
    global _opened
    if _opened is None:
        with _lock:
            if _opened is None:
                _opened = _open()
    return _opened


def close() -> None:
    """Give up the ledger; the next call of `ledger` opens it anew."""
    global _opened
    with _lock:
        if _opened is not None:
            _opened.close()
        _opened = None


def store_of(row: ScatterRow) -> Store:
    """The store that the scatter's workers wrote to. Raises ConfigError or StoreError where this process has no way."""
    from manifold.stores import open_store

    url = row.store_url
    if url and scheme_of(url) == "memory":
        raise ConfigError("its results were kept in the memory of the process that ran it")
    # A password is not kept in the ledger: such a store must be the deployment's own, which signatures show.
    return open_store(None if "***" in url else url or None)


def _open() -> Ledger:
    from manifold.airflow.settings import check_ledger, fill, register, single_host
    from manifold.ledger import open_ledger

    register()
    fill()
    # The store and the secret are not asked for: without them only the items of the quarantine cannot be read.
    url = settings.ledger_url()
    check_ledger(url, one_host=single_host())
    return open_ledger(url, connections=CONNECTIONS, patience=PATIENCE)
