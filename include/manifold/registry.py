"""The adapters: one row for each engine, store and file format, with all that is known of it before it is imported.

Opening, `manifold engines --help`, Airflow's connection types, the documents' tables and the contract tests are made of
these rows. Other people's come by entry points (`manifold.engines`, `manifold.stores`, `manifold.formats`): the name is
the scheme, the value an `Adapter`, or the adapter itself.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from manifold import redaction
from manifold.adapter import Adapter, Connection, Form, Reach
from manifold.errors import ConfigError
from manifold.renamed import renamed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registry:
    """The adapters of one kind.

    Args:
        kind: "engine", "store" or "format".
        entries: Manifold's own rows, by scheme.
        other: which of these serves a scheme that has none, if one does.
    """

    kind: str
    entries: Mapping[str, Adapter]
    other: Callable[[str], str | None] = lambda scheme: None

    def rows(self) -> list[Adapter]:
        """Return all rows, other packages' included. One of theirs that cannot be loaded is logged and left out."""
        rows = [*self.entries.values()]
        for point in self._points():
            try:
                rows += [_row_of(point)] if point.name not in self.entries else []
            except Exception:  # noqa: BLE001 - another package's fault is no reason to list nothing
                _log.warning("the %s %s (%s) cannot be loaded", self.kind, point.name, point.value, exc_info=True)
        return rows

    def named(self, scheme: str) -> Adapter | None:
        """Return the row of that scheme, if there is one."""
        own = scheme if scheme in self.entries else self.other(scheme)
        if own is not None:
            return self.entries[own]
        return next(map(_row_of, self._points(scheme)), None)

    def reads(self, url: str) -> bool:
        """True where an adapter reads that URL; raises ConfigError for what is not a URL."""
        return self.named(scheme_of(url)) is not None

    def row(self, url: str) -> Adapter:
        """Return the row that reads `url`; raises ConfigError, with those that there are, where none does."""
        scheme = scheme_of(url)
        row = self.named(scheme)
        if row is None:
            rows = {row.scheme: row for row in self.rows()}
            near = difflib.get_close_matches(scheme, rows, n=1)
            hint = f"did you mean {rows[near[0]].example}? " if near else ""
            known = ", ".join(f"{name}://" for name in rows)
            raise ConfigError(f"no {self.kind} has the scheme of {redaction.masked(url)!r}. {hint}Known: {known}")
        return row

    def open(self, url: str, **options: Any) -> Any:
        """Open what is behind `url`; raises as `row` and the adapter's `from_url`, MissingExtra without its client."""
        row = self.row(url)
        with row.installed(f"{url.partition('://')[0]}://"):
            return row.load().from_url(url, **options)

    def check(self, url: str, **options: Any) -> Adapter:
        """Return the row of `url`, without opening it; raises ConfigError if no adapter can read it."""
        row = self.row(url)
        if row.reads:
            row.load(row.reads)(url, **options)
        return row

    def _points(self, scheme: str | None = None) -> Iterable[EntryPoint]:
        from importlib.metadata import entry_points  # 20 ms, and most processes open adapters of ours

        points = entry_points(group=f"manifold.{self.kind}s")
        return points if scheme is None else points.select(name=scheme)


def _row_of(point: EntryPoint) -> Adapter:
    """The row that an entry point names, or what its adapter says of itself."""
    found = point.load()
    if isinstance(found, Adapter):
        return replace(found, scheme=point.name)
    says = (found.__doc__ or "").partition("\n")[0]
    in_process, same_host = getattr(found, "in_process", False), getattr(found, "same_host", False)
    reach: Reach = "process" if in_process else "host" if same_host else "hosts"
    path, kills = f"{point.module}:{point.attr}", getattr(found, "kills_items", False)
    return Adapter(point.name, path, (Form(f"{point.name}://", says),), reach=reach, kills_items=kills)


def scheme_of(url: str) -> str:
    """`redis` of `redis://…`, `sql` of `sql+postgresql://…`; raises ConfigError where there is none."""
    scheme, separator, _ = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigError(f"{redaction.masked(url)!r} is not a URL such as processes://4")
    return scheme.partition("+")[0].lower()


def _by_scheme(*rows: Adapter) -> dict[str, Adapter]:
    return {row.scheme: row for row in rows}


def _known_to_fsspec(scheme: str) -> str | None:
    import fsspec  # costs 30 ms, and most stores do without

    return "fsspec" if scheme in fsspec.available_protocols() else None


_CELERY = "Airflow's Celery workers that serve this queue; `celery://` is the deployment's default queue"
_PROCESSES = "four processes of the coordinator's host; `processes://` has one for each CPU"
_BUCKET = "a bucket that every host reaches; also `gs://…`, `abfs://…`, any writable scheme of fsspec's"
_SHARED = "Airflow on several hosts with a common folder"
_CSV = "a dict of strings per row, by the header"
_LABORATORY = "a laboratory, a LAN, a classroom"
_ZEROMQ = "several hosts of a network that others use too"
_MANAGER = "workers at a hub that is a BaseManager of the standard library, with KEY as its `authkey`"
_RUNS_ONE = "deployments that run a {} already"
_REMOTE = "manifold.engines._remote.place:check_url"
_REMOTE_OPTIONS = "`?queue=default`, `?silence=10`, `?balance=least-busy`, `round-robin` or `random`"
_TLS = ("tls", "tls_ca", "tls_cert", "tls_key")

ENGINES = Registry(
    "engine",
    _by_scheme(
        Adapter(
            "amqp",
            "manifold.engines.amqp:AmqpEngine",
            (Form("amqp://user:password@host:5672/vhost", "workers at a RabbitMQ", _RUNS_ONE.format("RabbitMQ")),),
            clients=("pika",),
            extra="amqp",
            reads=_REMOTE,
            kills_items=True,
            accepts=("queues", *_TLS),
            port=5672,
            options=f"{_REMOTE_OPTIONS}, `?queues=classic` or `quorum`",
            connection=Connection("RabbitMQ", "Host of the broker", "host", ("login", "password", "port", "schema")),
        ),
        Adapter(
            "celery",
            "manifold.engines.celery.engine:CeleryEngine",
            (Form("celery://manifold", _CELERY, "Airflow with the CeleryExecutor"),),
            clients=("celery", "kombu", "airflow"),
            extra="celery",
            reads="manifold.engines.urls:celery_url",
            kills_items=True,
            options="`?silence=10`",
            connection=Connection("Celery", "Queue", "queue"),
        ),
        Adapter(
            "dask",
            "manifold.engines.dask:DaskEngine",
            (
                Form("dask://host:8786", "the workers of a Dask cluster", "work on many hosts, without a broker"),
                Form("dask://local?workers=2", "two processes of a Dask cluster of its own", "trying that out"),
            ),
            clients=("dask", "distributed"),
            extra="dask",
            reads="manifold.engines._remote.place:dask_url",
            kills_items=True,
            accepts=("per_worker", "tls_ca", "tls_cert", "tls_key"),
            port=8786,
            options="`?per_worker=1`, `?silence=10`, `?balance=least-busy`, `round-robin` or `random`",
            connection=Connection("Dask", "Host of the scheduler", "host", ("port",)),
        ),
        Adapter(
            "grpc",
            "manifold.engines.grpc:GrpcEngine",
            (Form("grpc://host:50051", "workers at a hub that speaks gRPC", "networks made for gRPC (HTTP/2, TLS)"),),
            clients=("grpc",),
            extra="grpc",
            reads=_REMOTE,
            kills_items=True,
            accepts=_TLS,
            port=50051,
            options=_REMOTE_OPTIONS,
            connection=Connection("gRPC", "Host of the hub", "host", ("port", "password"), "manifold_grpc"),
        ),
        Adapter(
            "manager",
            "manifold.engines.manager:ManagerEngine",
            (Form("manager://:KEY@host:5000", _MANAGER, _LABORATORY),),
            reads=_REMOTE,
            kills_items=True,
            accepts=_TLS,
            port=5000,
            options=_REMOTE_OPTIONS,
            connection=Connection("BaseManager", "Host of the hub", "host", ("port", "password")),
        ),
        Adapter(
            "processes",
            "manifold.engines.processes.engine:ProcessesEngine",
            (Form("processes://4", _PROCESSES, "CPU work on one host; scripts"),),
            reads="manifold.engines.urls:processes_url",
            reach="host",
            kills_items=True,
            options="`?start=forkserver` or `spawn`",
            connection=Connection("processes", "Number of processes", "workers"),
        ),
        Adapter(
            "pyro",
            "manifold.engines.pyro:PyroEngine",
            (Form("pyro://host:9090", "workers at a hub of Pyro5 daemons", "where Pyro5 is at home"),),
            clients=("Pyro5",),
            extra="pyro",
            reads=_REMOTE,
            kills_items=True,
            accepts=_TLS,
            port=9090,
            options=_REMOTE_OPTIONS,
            connection=Connection("Pyro5", "Host of the hub", "host", ("port", "password")),
        ),
        Adapter(
            "redis",
            "manifold.engines.redis:RedisEngine",
            (Form("redis://:password@host:6379/0", "workers at a Redis or Valkey", _RUNS_ONE.format("Redis")),),
            clients=("redis",),
            extra="redis",
            reads=_REMOTE,
            kills_items=True,
            accepts=_TLS,
            port=6379,
            options=_REMOTE_OPTIONS,
            connection=Connection(
                "Redis", "Host of the server", "host", ("login", "password", "port", "schema"), "manifold_redis"
            ),
        ),
        Adapter(
            "rpyc",
            "manifold.engines.rpyc:RpycEngine",
            (Form("rpyc://host:18861", "workers at a hub that is an RPyC server", "where RPyC is at home"),),
            clients=("rpyc",),
            extra="rpyc",
            reads=_REMOTE,
            kills_items=True,
            accepts=_TLS,
            port=18861,
            options=_REMOTE_OPTIONS,
            connection=Connection("RPyC", "Host of the hub", "host", ("port", "password")),
        ),
        Adapter(
            "tcp",
            "manifold.engines.tcp:TcpEngine",
            (Form("tcp://host:7000", "workers at a hub of sockets, by the standard library alone", _LABORATORY),),
            reads=_REMOTE,
            kills_items=True,
            accepts=_TLS,
            options=_REMOTE_OPTIONS,
            connection=Connection("sockets", "Host of the hub", "host", ("port", "password")),
        ),
        Adapter(
            "threads",
            "manifold.engines.threads:ThreadsEngine",
            (Form("threads://8", "eight threads of the coordinator's process", "waiting for network or disk; tests"),),
            reads="manifold.engines.urls:threads_url",
            reach="process",
            connection=Connection("threads", "Number of threads", "workers"),
        ),
        Adapter(
            "zeromq",
            "manifold.engines.zeromq:ZeromqEngine",
            (Form("zeromq://host:5555", "workers at a hub of ZeroMQ, always encrypted (CURVE)", _ZEROMQ),),
            clients=("zmq",),
            extra="zeromq",
            reads=_REMOTE,
            kills_items=True,
            port=5555,
            options=_REMOTE_OPTIONS,
            connection=Connection("ZeroMQ", "Host of the hub", "host", ("port", "password")),
        ),
    ),
)
STORES = Registry(
    "store",
    _by_scheme(
        Adapter(
            "file",
            "manifold.stores.file:FileStore",
            (
                Form("file:///var/lib/manifold", "a folder of this host", "one host", "the disk"),
                Form("file:///mnt/shared?shared=true", "a folder that every host mounts", _SHARED, "the disk"),
            ),
        ),
        Adapter(
            "fsspec",
            "manifold.stores.fsspec:FsspecStore",
            (Form("s3://bucket/folder", _BUCKET, "Airflow on several hosts", "what the service allows"),),
        ),
        Adapter(
            "memory",
            "manifold.stores.memory:MemoryStore",
            (Form("memory://name", "this process, and nobody else's", "tests; refused in Airflow", "memory"),),
            reach="process",
        ),
        Adapter(
            "sql",
            "manifold.stores.sql:SqlStore",
            (
                Form(
                    "sql+postgresql://user:password@host/database",
                    "a table of PostgreSQL that every host reaches",
                    "Airflow on several hosts, without a bucket",
                    "256 MiB",
                ),
                Form("sql+sqlite:////var/lib/blobs.db", "an SQLite file of this host", "one host", "256 MiB"),
            ),
            clients=("psycopg2",),
            extra="postgres",
        ),
    ),
    other=_known_to_fsspec,
)
_FORMATS, _JSON = "manifold.sources.formats", "manifold.sources.json_text"
FORMATS = Registry(
    "format",
    _by_scheme(
        Adapter("csv", f"{_FORMATS}:csv_rows", (Form("*.csv", _CSV),), suffixes=("csv",)),
        Adapter(
            "json",
            f"{_JSON}:json_document",
            (Form("*.json", "a member of the array that it holds, or a value a line"),),
            suffixes=("json",),
        ),
        Adapter(
            "jsonl",
            f"{_JSON}:json_lines",
            (Form("*.jsonl", "one JSON value a line"),),
            suffixes=("jsonl", "ndjson"),
            writer="manifold.writers.jsonl:to_jsonl",
            written=("jsonl", "jsonl.gz"),
        ),
        Adapter("lines", f"{_FORMATS}:text_lines", (Form("lines:*.log", "a line of text"),)),
        Adapter(
            "parquet",
            f"{_FORMATS}:parquet_rows",
            (Form("*.parquet", "a dict per row"),),
            clients=("pyarrow",),
            extra="parquet",
            suffixes=("parquet", "pq"),
            writer="manifold.writers.parquet:to_parquet",
            written=("parquet", "pq"),
        ),
        Adapter("tsv", f"{_FORMATS}:tsv_rows", (Form("*.tsv", _CSV),), suffixes=("tsv", "tab")),
    ),
)
REGISTRIES = (ENGINES, STORES, FORMATS)

if not TYPE_CHECKING:  # a type checker is to name those who still write it
    __getattr__ = renamed(__name__, {"masked": "manifold.redaction:masked"})
