"""The ledger: the SQL tables that say which items have an outcome; the only point of truth.

`open_ledger(url)` gives a `Ledger`; `Ledger.acquire(uid, owner)` gives the `Claim` that a coordinator writes through.
"""

from __future__ import annotations

import os
import weakref

from manifold import config
from manifold.ledger import schema
from manifold.ledger.claim import Claim
from manifold.ledger.connection import Database, connect, give_back
from manifold.ledger.ledger import Ledger
from manifold.ledger.merged import MergedRow, Run
from manifold.ledger.rows import (
    AttemptRow,
    Committed,
    FailureRow,
    KindRow,
    NewScatter,
    Owner,
    TryRow,
    WorkerRow,
)
from manifold.ledger.tries import LEASE
from manifold.ledger.verify import Violation, verify, verify_blobs
from manifold.names import scatter_name
from manifold.patience import PATIENCE

__all__ = [
    "LEASE",
    "AttemptRow",
    "Claim",
    "Committed",
    "FailureRow",
    "KindRow",
    "Ledger",
    "MergedRow",
    "NewScatter",
    "Owner",
    "Run",
    "TryRow",
    "Violation",
    "WorkerRow",
    "open_ledger",
    "scatter_name",
    "verify",
    "verify_blobs",
]


def open_ledger(
    url: str | None = None, *, migrate: bool | None = None, connections: int = 1, patience: float = PATIENCE
) -> Ledger:
    """The ledger behind `url`, ready to be used.

    Args:
        url: an SQLAlchemy URL of PostgreSQL or SQLite; None takes the deployment's (`MANIFOLD_LEDGER`).
        migrate: make or upgrade the tables; None: only those of SQLite, which has nobody else to do it.
        connections: how many it may hold at once: one for a coordinator, some more for a web server.
        patience: seconds that a transaction is tried again while the database is away.

    Its connections are closed by `close`, or once nobody holds the ledger any more.
    Raises ConfigError for a URL that it cannot use, SchemaError where the tables are missing or of another version,
    LedgerError where the database does not answer.
    """
    engine = connect(url or config.ledger_url(), connections=connections)
    try:
        if migrate or (migrate is None and engine.dialect.name == "sqlite"):
            schema.migrate(engine)
        database = Database(engine, patience=patience)
        ledger = Ledger(engine, database=database)
    except BaseException:
        engine.dispose()
        raise
    weakref.finalize(database, give_back, engine, os.getpid())
    return ledger
