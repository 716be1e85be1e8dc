"""`manifold exporter`: the ledger's figures for Prometheus."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from manifold import config
from manifold.cli import out
from manifold.cli.context import answering
from manifold.cli.engines import known
from manifold.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from manifold.ledger import Ledger

_PATIENCE = 5.0  # seconds for the ledger in one scrape, which Prometheus waits 10 s for


def exporter(
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one, and says which.")] = 9469,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Which engines to watch; without it, those that are known here. Several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Tell Prometheus how the scatters are doing, at http://HOST:PORT/metrics, until Ctrl-C.

    Everything comes from the ledger's counters, in some short queries a scrape, whatever the number of items. Engines
    whose workers are elsewhere are watched, too. Run one for each ledger: its figures are of the whole deployment.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server

        from manifold.monitors.prometheus import LedgerCollector
        from manifold.monitors.watch import EngineWatch
    except ModuleNotFoundError as exc:
        if exc.name != "prometheus_client":
            raise
        raise MissingExtra("the exporter needs prometheus-client: pip install 'airflow-manifold[metrics]'") from exc
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    registry = CollectorRegistry(auto_describe=False)
    with closing(EngineWatch(engine or known())) as watch:
        registry.register(LedgerCollector(_opened, watch))
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as exc:
            raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror or exc}; --port chooses another") from exc
        try:
            out.note(f"metrics are at http://{host}:{server.server_port}/metrics")
            ended.wait()
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _opened() -> Ledger:
    from manifold.ledger import open_ledger

    url = config.ledger_url()
    with answering(url):
        ledger = open_ledger(url)
    ledger.database.patience = _PATIENCE
    return ledger
