"""`manifold worker` and `manifold hub`: the processes of engines whose workers we start ourselves."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifold import config
from manifold.cli import out
from manifold.errors import ConfigError, EngineError, MissingExtra
from manifold.registry import ENGINES

if TYPE_CHECKING:
    from manifold.abc import Place, Transport
    from manifold.engines._remote.worker import Worker

_MIB = 1024 * 1024
_EVERY = 2.0  # seconds between two tries to reach a broker or hub that is not up yet

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        envvar="MANIFOLD_ENGINE_URL",
        help="The engine's URL, or an Airflow connection's id. In a command line, everybody on the host can read it.",
    ),
]


def worker(
    url: Url,
    slots: Annotated[int | None, typer.Option(min=1, help="Processes; without it, one for each CPU.")] = None,
    queue: Annotated[str | None, typer.Option(help="Whose chunks to run; coordinators name it by ?queue=.")] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(min=0, help="How long chunks that run may take to end after a SIGTERM.")
    ] = None,
    max_memory_per_slot: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="Replace a process that has more after a chunk.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Tell Prometheus at http://127.0.0.1:PORT/metrics.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="The address for that; 0.0.0.0 for every one.")] = "127.0.0.1",
    health_file: Annotated[
        Path | None, typer.Option(help="Touch this file each second in which the broker or hub is heard.")
    ] = None,
) -> None:
    """Run chunks for an engine whose workers you start: at a broker, or at a `manifold hub`.

    The processes are this command's children; one that dies is replaced, and costs its chunk alone. A SIGTERM drains:
    no more chunks are taken, those that run end after the item at hand, and the rest goes to other workers. A second
    one ends at once. MANIFOLD_SECRET must be that of the coordinators.
    """
    from manifold.engines._remote.worker import Worker
    from manifold.engines.urls import cpus

    transport, place = _transport(url, queue)
    connect = _reached(transport, place)
    one = Worker(
        connect,
        slots or cpus(),
        place.queue,
        drain_seconds=drain_seconds,
        max_memory=max_memory_per_slot and max_memory_per_slot * _MIB,
        each_beat=partial(health_file.touch, 0o644) if health_file else lambda: None,
    )
    if metrics_port is not None:
        _tell_prometheus(one, metrics_host, metrics_port)
    _end_by_signal(one)
    out.note(f"worker {one.node} with {slots or cpus()} slots serves the queue {place.queue} at {place}")
    one.serve()


def hub(url: Url) -> None:
    """Be the middle of an engine that has no broker of its own, until a SIGTERM.

    Chunks and answers that wait rest in its memory, and not without bounds. Should it die, start it again: what was
    lost is sent again, and no item is lost or counted twice. It knows no secret but its password: that of the URL, or
    without one what is derived of MANIFOLD_SECRET.
    """
    transport, place = _transport(url, None)
    signal.signal(signal.SIGTERM, _exit)
    out.note(f"hub at {place}; start workers with: manifold worker '{place}'")
    try:
        transport.serve(place)
    except OSError as exc:
        raise EngineError(f"cannot serve {place}: {exc}") from exc


def _transport(url: str, queue: str | None) -> tuple[type[Transport], Place]:
    from manifold.engines._remote.engine import RemoteEngine, place_of

    url = config.resolve(url)
    engine = ENGINES.row(url).load()
    if not (isinstance(engine, type) and issubclass(engine, RemoteEngine)):
        ours = ", ".join(row.example for row in ENGINES.rows() if row.reads.endswith("check_url"))
        raise ConfigError(f"{url.partition(':')[0]}:// has workers of its own; those that are started so: {ours}")
    return engine.transport, place_of(engine.transport, url, queue=queue)


def _reached(transport: type[Transport], place: Place) -> Any:
    """Return what connects, once something answers there: a worker may be up before its broker is."""
    from manifold.abc import TransportError

    told = False
    while True:
        try:
            transport.connect(place).close()
            return partial(transport.connect, place)
        except TransportError as exc:
            if not told:
                out.note(f"cannot use {place} yet: {exc}; trying until it can be used")
            told = True
            time.sleep(_EVERY)


def _end_by_signal(one: Worker) -> None:
    def leave(*_: object) -> None:
        if one.leaving:
            os._exit(1)  # its processes end with it
        one.leave()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


def _exit(*_: object) -> None:
    # The hub's library may hold any thread; nothing is to be kept.
    os._exit(0)


def _tell_prometheus(one: Worker, host: str, port: int) -> None:
    try:
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.core import GaugeMetricFamily
        from prometheus_client.registry import Collector
    except ModuleNotFoundError as exc:
        if exc.name != "prometheus_client":
            raise
        raise MissingExtra("--metrics-port needs prometheus-client: pip install 'airflow-manifold[metrics]'") from exc

    class Figures(Collector):
        def collect(self) -> Any:
            for name, value in one.figures().items():
                yield GaugeMetricFamily(f"manifold_worker_{name}", f"{name.replace('_', ' ')} of this worker", value)

    registry = CollectorRegistry()
    registry.register(Figures())
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as exc:
        raise ConfigError(f"cannot listen on {host}:{port}: {exc.strerror}; choose another --metrics-port") from exc
    out.note(f"metrics at http://{host}:{server.server_port}/metrics")
