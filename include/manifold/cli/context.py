"""What a command finds around it: the ledger, the scatter that an ID means, its store, the person who asks.

Where Airflow is configured, ledger, store, secret and connections are those of its `[manifold]` section, as for a task.
"""

from __future__ import annotations

import difflib
import getpass
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from manifold import config
from manifold.abc import Store
from manifold.cli.exits import NotFound
from manifold.errors import ConfigError
from manifold.names import meant, name_parts, shown_name
from manifold.protocol.records import ScatterRow

_PATIENCE = 10.0  # seconds that a command waits for a store

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from manifold.ledger import Ledger

_PATIENCE = 5.0  # seconds; a person waits, where a coordinator would wait for minutes
_UID = 32
_SHORTEST_PREFIX = 4


def in_airflow() -> bool:
    """Airflow is installed here, and somebody has configured it."""
    config = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser() / "airflow.cfg"
    configured = any(name.startswith(("AIRFLOW_HOME", "AIRFLOW__")) for name in os.environ) or config.exists()
    return configured and find_spec("airflow") is not None


def use_airflow() -> None:
    """Let the core ask Airflow for what the environment does not say. Airflow itself is imported when that happens."""
    if in_airflow() and _fill not in config.fillers:
        config.fillers.append(_fill)
        config.resolvers.append(_connection)


def _fill() -> None:
    from manifold.airflow.configuration import fill

    fill()


def _connection(name: str) -> str | None:
    from manifold.airflow.hooks import connection_url

    return connection_url(name)


@contextmanager
def opened_ledger(url: str | None = None) -> Iterator[Ledger]:
    """The deployment's ledger, or that of `url`; raises LedgerError after seconds where it does not answer."""
    from manifold.ledger import open_ledger

    where = url or config.ledger_url()
    with answering(where):
        ledger = open_ledger(where)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def answering(url: str) -> Iterator[Engine]:
    """The database behind a ledger's URL, with tables or without; raises LedgerError after seconds of silence."""
    from manifold.ledger.connection import Database, connect

    database = Database(connect(url), patience=_PATIENCE)
    try:
        database.read(lambda conn: None)
        yield database.engine
    finally:
        database.close()


def find(ledger: Ledger, name: str) -> ScatterRow:
    """The scatter that `name` means: a uid, its unique beginning, a name, or dag/run/task[/map index].

    A name may be written as people write it, or percent-quoted as the ledger has it.

    Raises NotFound, with what is near, or ConfigError where it means several.
    """
    if len(name) == _UID and (found := _by_prefix(ledger, name)):
        return found
    named = [row for one in meant(name) if (row := ledger.find(one)) is not None]
    matches = {row.uid: row for row in named}
    if not matches and len(name) >= _SHORTEST_PREFIX and re.fullmatch("[0-9a-f]+", name):
        found = _by_prefix(ledger, name)
        matches = {found.uid: found} if found else {}
    if len(matches) > 1:
        some = ", ".join(f"{row.uid} ({row.name})" for row in matches.values())
        raise ConfigError(f"{name} means several scatters: {some}; give the uid of one")
    if not matches:
        raise NotFound(f"the ledger {ledger.url} has no scatter {name}. {_near(ledger, name)}")
    return next(iter(matches.values()))


def _by_prefix(ledger: Ledger, prefix: str) -> ScatterRow | None:
    rows = ledger.scatters(uid_prefix=prefix, limit=3)
    if len(rows) > 1:
        some = ", ".join(f"{row.uid} ({row.title})" for row in rows)
        raise ConfigError(f"{prefix} is the beginning of several: {some}; give more of it")
    return rows[0] if rows else None


def _near(ledger: Ledger, name: str) -> str:
    known = {row.title for row in ledger.scatters(limit=200) if row.state != "replaced"}
    near = difflib.get_close_matches(shown_name(name), known, n=3)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}`manifold ls` shows those it has; MANIFOLD_LEDGER chooses another ledger"


def task_of(ledger: Ledger, row: ScatterRow) -> tuple[str, str, str, int] | None:
    """(dag, run, task, map index) of the Airflow task that the scatter is of; None for plain Python's.

    Told by the key that its coordinator claimed it with, which only an Airflow task has.
    """
    return None if ledger.claim_key(row.uid) is None else name_parts(row.name)


def opened_store(row: ScatterRow) -> Store:
    """The store that the scatter's workers wrote to; raises ConfigError where only its own process could."""
    from manifold.registry import scheme_of
    from manifold.stores import store_behind

    if row.store_url and scheme_of(row.store_url) == "memory":
        raise ConfigError(
            f"the results of {row.title} were kept in the memory of the process that ran it, or in a store object of "
            "its own, so no command can read them. Give scatter() a store's URL to have them kept"
        )
    return store_behind(row.store_url, patience=_PATIENCE)


def person() -> str:
    """Who asks, for the ledger and for the scatter's log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{platform.node()}"
