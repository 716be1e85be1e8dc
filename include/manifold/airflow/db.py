"""`airflow db migrate` makes and upgrades the ledger's tables too: the provider info names this manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.utils.db_manager import BaseDBManager
from sqlalchemy import Engine, MetaData

from manifold import config
from manifold.airflow.configuration import configure
from manifold.errors import ConfigError, ManifoldError
from manifold.ledger import schema
from manifold.ledger.connection import connect
from manifold.redaction import masked


class ManifoldDBManager(BaseDBManager):
    """Airflow's handle on the ledger. It works on the ledger's own database, never through Airflow's session.

    * Without a configured ledger it says so and does nothing: Airflow must start where nobody scatters yet.
    * `airflow db reset` leaves the ledger alone: results rest on it.
    """

    # Airflow compares these with its own tables; ours are in another database.
    metadata = MetaData()
    migration_dir = str(Path(__file__).parent / "migrations")
    alembic_file = ""
    version_table_name = "manifold_ledger"
    supports_table_dropping = False

    def initdb(self, use_migration_files: bool = False) -> None:
        self._migrate()

    def upgradedb(
        self,
        to_revision: str | None = None,
        from_revision: str | None = None,
        show_sql_only: bool = False,
        use_migration_files: bool = False,
    ) -> None:
        if show_sql_only:
            self.log.info("Manifold's ledger has no SQL to show; `manifold db migrate` runs its upgrades")
            return
        self._migrate()

    def create_db_from_orm(self) -> None:
        self._migrate()

    def check_migration(self) -> bool:
        try:
            with self._ledger() as ledger:
                if ledger is not None:
                    schema.check(ledger)
        except ManifoldError as exc:
            self.log.warning("%s", exc)
            return False
        return True

    def get_current_revision(self) -> str | None:
        return None  # the ledger keeps its version in a table of its own

    def resetdb(self, skip_init: bool = False, use_migration_files: bool = False) -> None:
        if not skip_init:
            self._migrate()

    def drop_tables(self, connection: Any) -> None:
        return

    def downgrade(self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False) -> None:
        raise ConfigError("the ledger is not downgraded; install the airflow-manifold that its tables belong to")

    def _migrate(self) -> None:
        with self._ledger() as ledger:
            if ledger is not None:
                before = schema.migrate(ledger)
                where = masked(ledger.url.render_as_string(hide_password=False))
                self.log.info("Manifold's ledger %s: version %s, was %s", where, schema.version(), before or "new")

    @contextmanager
    def _ledger(self) -> Iterator[Engine | None]:
        try:
            configure()
        except ConfigError as exc:
            self.log.info("Manifold's ledger is left alone. %s", exc)
            yield None
            return
        ledger = connect(config.ledger_url())
        try:
            yield ledger
        finally:
            ledger.dispose()
