"""sql+postgresql://USER:PASSWORD@HOST/DATABASE or sql+sqlite:////ABSOLUTE/PATH — one row per blob.

For a deployment that has a database and no shared disk or bucket. A value may have 256 MiB: PostgreSQL keeps it as
one field, and its client holds it about three times in memory. PostgreSQL needs `pip install
"airflow-manifold[postgres]"`. The part after `sql+` is a URL of SQLAlchemy's, so `postgresql+psycopg` works as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from manifold.abc import Store
from manifold.errors import ConfigError, MissingExtra
from manifold.protocol.blob_keys import LONGEST
from manifold.redaction import masked

_PAGE = 1000
# Bytewise order on both, so that keys with a prefix are one range of the index. SQLite's default is that already.
_KEY = sa.String(LONGEST).with_variant(sa.String(LONGEST, collation="C"), "postgresql")
BLOBS = sa.Table(
    "manifold_blob",
    sa.MetaData(),
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class SqlStore(Store):
    """Results in the table `manifold_blob`, which is made where the role may make it."""

    max_bytes = 256 * 1024 * 1024
    errors = (SQLAlchemyError,)

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.url = f"sql+{engine.url.render_as_string()}"  # the password is masked
        self._insert = _INSERT[engine.dialect.name]
        self.reach = "hosts" if engine.dialect.name == "postgresql" else "host"
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _write_ahead)
        self._make_table()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The store behind `sql+` and a URL of SQLAlchemy's; `options` go to `sqlalchemy.create_engine`."""
        if not url.startswith("sql+"):
            raise ConfigError(f"{masked(url)!r} names no database: sql+postgresql://user:password@host/db does")
        try:
            where = sa.make_url(url.removeprefix("sql+"))
            if where.drivername in ("postgresql", "postgres"):
                where = where.set(drivername="postgresql+psycopg2")  # what the extra installs, whatever the default
            return cls(sa.create_engine(where, **{"hide_parameters": True, **_settings(where), **options}))
        except (ArgumentError, NoSuchModuleError) as exc:
            raise ConfigError(f"{masked(url)!r} is not a database that SQLAlchemy knows: {exc}") from exc
        except ModuleNotFoundError as exc:
            raise MissingExtra(
                f'sql+postgresql:// needs {exc.name!r}: pip install "airflow-manifold[postgres]"'
            ) from exc

    def _put(self, key: str, value: bytes) -> None:
        # A put whose COMMIT was in doubt comes again with the same bytes.
        row = self._insert(BLOBS).values(key=key, value=value)
        row = row.on_conflict_do_update(index_elements=["key"], set_={"value": row.excluded.value})
        with self._engine.begin() as connection:
            connection.execute(row)

    def _get(self, key: str) -> bytes | None:
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(BLOBS.c.value).where(BLOBS.c.key == key))

    def _delete(self, key: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.delete(BLOBS).where(BLOBS.c.key == key))

    def _keys(self, prefix: str) -> Iterator[str]:
        # By pages, so that no connection is held while the caller does something with the keys.
        key = BLOBS.c.key
        page = sa.select(key).where(key < prefix + "\x7f").order_by(key).limit(_PAGE)
        after = key >= prefix
        while True:
            with self._engine.connect() as connection:
                found = list(connection.scalars(page.where(after)))
            yield from found
            if len(found) < _PAGE:
                return
            after = key > found[-1]

    def close(self) -> None:
        self._engine.dispose()

    def _explained(self, exc: Exception) -> str:
        # The driver's own words, without the statement.
        return super()._explained(getattr(exc, "orig", None) or exc)

    def _make_table(self) -> None:
        with self._translated("could not look into"):
            if sa.inspect(self._engine).has_table(BLOBS.name):
                return
        try:
            BLOBS.create(self._engine)
        except SQLAlchemyError as exc:
            with self._translated("could not look into"):
                if sa.inspect(self._engine).has_table(BLOBS.name):
                    return  # another process was quicker
            ddl = str(CreateTable(BLOBS).compile(self._engine)).strip()
            why = str(exc.orig if isinstance(exc, DBAPIError) else exc).splitlines()[0]
            raise ConfigError(
                f"{self._place} has no table {BLOBS.name}, and may not make it ({why}). Let its owner run:\n"
                f"{ddl};\nGRANT SELECT, INSERT, UPDATE, DELETE ON {BLOBS.name} TO {self._engine.url.username};"
            ) from exc


def _settings(where: sa.URL) -> dict[str, Any]:
    """How to connect, so that a database that is gone is noticed within seconds."""
    if where.get_backend_name() == "postgresql":
        keepalive = {
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            # Keepalives do not run while something waits to be acknowledged: a put would wait for a quarter of an hour.
            "tcp_user_timeout": 20_000,
        }
        # Prepared statements do not survive PgBouncer's transaction mode; psycopg 3 makes them unasked.
        own = {"prepare_threshold": None} if where.get_driver_name() == "psycopg" else {}
        return {
            "pool_pre_ping": True,
            "pool_size": 2,
            "connect_args": {"connect_timeout": 10, "application_name": "manifold store", **keepalive, **own},
        }
    if where.get_backend_name() != "sqlite":
        raise ConfigError(f"sql+{where.get_backend_name()}:// is not supported: PostgreSQL and SQLite are")
    if not where.database or not where.database.startswith("/"):
        raise ConfigError(
            "sql+sqlite:// needs a file by its absolute path, with four slashes: sql+sqlite:////var/lib/b.db"
        )
    return {"connect_args": {"timeout": 30}}


def _write_ahead(connection: Any, _record: object) -> None:
    # Readers then do not wait for a writer. SQLite's own default, synchronous=FULL, makes each commit durable.
    connection.execute("PRAGMA journal_mode=WAL")
