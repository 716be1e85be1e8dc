"""Airflow connections as engines, ledgers and stores: each hook turns its connection into the URL that the core opens.

| connection type | fields | URL |
|---|---|---|
| `celery`, `processes`, `threads` | host: queue or number of workers; extra: options | `celery://queue?option=…` |
| `manifold_ledger` | login, password, host, port; schema: the database | `postgresql://login:password@host/schema` |
| `manifold_store` | host: the URL; login and password go into it | `s3://bucket/folder` |
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from manifold.errors import ConfigError, ManifoldError
from manifold.registry import masked


class UrlHook(BaseHook):
    """What is behind a connection, as a URL. Contract for the ones below: `url_from` and `check`."""

    conn_name_attr: ClassVar[str] = "conn_id"
    default_conn_name: ClassVar[str]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]

    def __init__(self, conn_id: str | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id or self.default_conn_name

    @property
    def url(self) -> str:
        """The URL, secrets included."""
        return self.url_from(self.get_connection(self.conn_id))

    @classmethod
    def url_from(cls, connection: Connection) -> str:
        raise NotImplementedError

    def check(self) -> str:
        """Use it; a sentence on what was found, or an error of Manifold's."""
        raise NotImplementedError

    def test_connection(self) -> tuple[bool, str]:
        """For the "Test" button of Airflow's connection form."""
        try:
            return True, self.check()
        except (ManifoldError, AirflowException) as exc:
            return False, str(exc)


class EngineHook(UrlHook):
    """An engine behind a connection. A new engine is a subclass of a few lines."""

    host_option: ClassVar[str]
    """The name under which the host may stand among the extra options instead."""

    @classmethod
    def url_from(cls, connection: Connection) -> str:
        options = dict(connection.extra_dejson)
        where = _netloc(connection) or quote(str(options.pop(cls.host_option, "")))
        path = f"/{quote(connection.schema)}" if connection.schema else ""
        return f"{cls.conn_type}://{where}{path}{'?' + urlencode(options) if options else ''}"

    def check(self) -> str:
        from manifold.engines.open import open_engine

        with open_engine(self.url) as engine:
            return engine.check() or f"{engine.slots()} chunks can run at once"


class CeleryHook(EngineHook):
    """Airflow's own Celery workers."""

    conn_type = "celery"
    default_conn_name = "celery_default"
    hook_name = "Manifold engine: Celery"
    host_option = "queue"


class ProcessesHook(EngineHook):
    """Processes on the task's own host."""

    conn_type = "processes"
    default_conn_name = "processes_default"
    hook_name = "Manifold engine: processes"
    host_option = "workers"


class ThreadsHook(EngineHook):
    """Threads of the task's own process."""

    conn_type = "threads"
    default_conn_name = "threads_default"
    hook_name = "Manifold engine: threads"
    host_option = "workers"


class LedgerHook(UrlHook):
    """The ledger's database."""

    conn_type = "manifold_ledger"
    default_conn_name = "manifold_ledger_default"
    hook_name = "Manifold ledger"

    @classmethod
    def url_from(cls, connection: Connection) -> str:
        extra = connection.extra_dejson
        options = f"?{urlencode(extra)}" if extra else ""
        return f"postgresql://{_netloc(connection)}/{quote(connection.schema or 'manifold')}{options}"

    def check(self) -> str:
        from manifold.ledger import schema
        from manifold.ledger.connection import connect

        database = connect(self.url)
        try:
            return f"ledger {schema.check(database)}"
        finally:
            database.dispose()


class StoreHook(UrlHook):
    """The store of results."""

    conn_type = "manifold_store"
    default_conn_name = "manifold_store_default"
    hook_name = "Manifold store"

    @classmethod
    def url_from(cls, connection: Connection) -> str:
        url = connection.host or ""
        if "://" not in url:
            raise ConfigError(
                f"the connection {connection.conn_id!r} needs a URL as its host, such as s3://bucket/path"
            )
        parts = urlsplit(url)
        if connection.login and not parts.username:
            login = quote(connection.login, safe="")
            secret = f":{quote(connection.password, safe='')}" if connection.password else ""
            parts = parts._replace(netloc=f"{login}{secret}@{parts.netloc}")
        extra = connection.extra_dejson
        return parts._replace(query="&".join(filter(None, [parts.query, urlencode(extra)]))).geturl()

    def check(self) -> str:
        from manifold.stores import open_store

        store = open_store(self.url)
        try:
            next(iter(store.keys()), None)
        finally:
            store.close()
        return f"{masked(self.url)} answers"


HOOKS: tuple[type[UrlHook], ...] = (CeleryHook, LedgerHook, StoreHook, ProcessesHook, ThreadsHook)
"""One for each connection type. How their forms look stands in `provider.py`, where Airflow reads it."""


def connection_url(conn_id: str) -> str | None:
    """The URL behind a connection id; None where this process sees no such connection.

    Raises ConfigError for a connection of a type that is none of ours.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except (AirflowException, AirflowRuntimeError):
        return None
    for hook in HOOKS:
        if hook.conn_type == connection.conn_type:
            return hook.url_from(connection)
    known = ", ".join(hook.conn_type for hook in HOOKS)
    raise ConfigError(f"the connection {conn_id!r} has the type {connection.conn_type!r}; Manifold reads: {known}")


def _netloc(connection: Connection) -> str:
    login = quote(connection.login or "", safe="")
    secret = f":{quote(connection.password, safe='')}" if connection.password else ""
    port = f":{connection.port}" if connection.port else ""
    return f"{login}{secret}{'@' if login or secret else ''}{connection.host or ''}{port}"
