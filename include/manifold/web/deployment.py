"""The ledger and the stores of this deployment, as the api-server reaches them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import DataError, SQLAlchemyError

from manifold import config
from manifold.abc import Store
from manifold.errors import ConfigError, LedgerError
from manifold.protocol.records import ScatterRow
from manifold.registry import scheme_of

if TYPE_CHECKING:
    from manifold.ledger import Ledger

CONNECTIONS = 5
PATIENCE = 3.0
"""Seconds that a request waits for a ledger that is away: people look at a page, and the next poll asks again."""
REST = 5.0
"""Seconds that nobody asks a ledger again which did not answer: waiting requests would hold up all of the server."""

_lock = threading.Lock()
_opened: Ledger | None = None
_away: tuple[float, str] = (0.0, "")


def ledger() -> Ledger:
    """The deployment's ledger: opened when first asked for, once in this process, and shared by its threads.

    Raises ConfigError or LedgerError, with what to do; some seconds later it is tried again.
    """
    global _opened  # one per process is the point
    _raise_if_away()
    if _opened is None:
        with _lock:
            if _opened is None:
                _raise_if_away()
                try:
                    _opened = _open()
                except LedgerError as exc:
                    note(exc)
                    raise
    return _opened


def note(trouble: Exception) -> None:
    """Remember, for some seconds, that the ledger did not answer, if that is what the error says.

    A value that the database refused is one reader's alone: it must not close the page to all others.
    """
    global _away
    cause = trouble.__cause__
    if isinstance(cause, SQLAlchemyError) and not isinstance(cause, DataError):
        _away = (time.monotonic() + REST, str(trouble))


def close() -> None:
    """Give up the ledger; the next call of `ledger` opens it anew."""
    global _opened, _away
    with _lock:
        if _opened is not None:
            _opened.close()
        _opened, _away = None, (0.0, "")


def _raise_if_away() -> None:
    until, text = _away
    if time.monotonic() < until:
        raise LedgerError(text)


def store_of(row: ScatterRow) -> Store:
    """The store that the scatter's workers wrote to. Raises ConfigError or StoreError where this process has no way."""
    from manifold.stores import store_behind

    url = row.store_url
    if url and scheme_of(url) == "memory":
        raise ConfigError("its results were kept in the memory of the process that ran it")
    return store_behind(url, patience=PATIENCE)


def _open() -> Ledger:
    from manifold.airflow.configuration import check_ledger, fill, register, single_host
    from manifold.ledger import open_ledger
    from manifold.ledger.connection import Database, connect

    register()
    fill()
    # The store and the secret are not asked for: without them only the items of the quarantine cannot be read.
    url = config.ledger_url()
    check_ledger(url, one_host=single_host())
    probe = Database(connect(url), patience=PATIENCE)
    try:
        probe.read(lambda conn: None)
    finally:
        probe.close()
    return open_ledger(url, connections=CONNECTIONS, patience=PATIENCE)
