"""Airflow connections as engines, ledgers and stores: each hook turns its connection into the URL that the core opens.

| connection type | fields | URL |
|---|---|---|
| an engine's scheme | host: queue or number of workers; extra: options | `celery://queue?option=…` |
| `manifold_ledger` | login, password, host, port; schema: the database | `postgresql://login:password@host/schema` |
| `manifold_store` | host: the URL; login and password go into it | `s3://bucket/folder` |
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from manifold.adapter import Adapter
from manifold.adapter import Connection as Form
from manifold.errors import ConfigError, ManifoldError
from manifold.redaction import masked
from manifold.registry import ENGINES


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
    """An engine behind a connection. The subclasses are made of the rows of engines."""

    scheme: ClassVar[str]
    host_option: ClassVar[str]
    """The name under which the host may stand among the extra options instead."""

    @classmethod
    def url_from(cls, connection: Connection) -> str:
        options = dict(connection.extra_dejson)
        where = _netloc(connection) or quote(str(options.pop(cls.host_option, "")))
        path = f"/{quote(connection.schema)}" if connection.schema else ""
        return f"{cls.scheme}://{where}{path}{'?' + urlencode(options) if options else ''}"

    def check(self) -> str:
        from manifold.engines.open import open_engine

        with open_engine(self.url) as engine:
            return engine.check() or f"{engine.slots()} chunks can run at once"


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


@cache
def hooks() -> tuple[type[UrlHook], ...]:
    """One for each connection type. How their forms look stands in `provider.py`, where Airflow reads it."""
    return (*(_engine_hook(row, row.connection) for row in ENGINES.rows() if row.connection), LedgerHook, StoreHook)


@cache
def _engine_hook(row: Adapter, form: Form) -> type[UrlHook]:
    said = {
        "conn_type": row.connection_type,
        "default_conn_name": f"{row.connection_type}_default",
        "hook_name": form.hook_name,
        "scheme": row.scheme,
        "host_option": form.option,
    }
    return type(row.hook, (EngineHook,), {"__module__": __name__, "__doc__": row.says, **said})


def __getattr__(name: str) -> type[UrlHook]:
    if name.endswith("Hook"):  # as the provider names it
        for hook in hooks():
            if hook.__name__ == name:
                return hook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def connection_url(conn_id: str) -> str | None:
    """The URL behind a connection id; None where this process sees no such connection.

    Raises ConfigError for a connection of a type that is none of ours.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except (AirflowException, AirflowRuntimeError):
        return None
    for hook in hooks():
        if hook.conn_type == connection.conn_type:
            return hook.url_from(connection)
    known = ", ".join(hook.conn_type for hook in hooks())
    raise ConfigError(f"the connection {conn_id!r} has the type {connection.conn_type!r}; Manifold reads: {known}")


def _netloc(connection: Connection) -> str:
    login = quote(connection.login or "", safe="")
    secret = f":{quote(connection.password, safe='')}" if connection.password else ""
    port = f":{connection.port}" if connection.port else ""
    return f"{login}{secret}{'@' if login or secret else ''}{connection.host or ''}{port}"
