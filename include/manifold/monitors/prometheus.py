"""The ledger's figures as Prometheus reads them: for `manifold exporter`, or a page of a web server.

One process per ledger exports them: they are of the whole deployment, and sums over several exporters would be
multiples. No label is an id. Install: `pip install "airflow-manifold[metrics]"`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from manifold.coordinator.counters import BUCKETS, REST
from manifold.errors import ManifoldError
from manifold.ledger import Ledger, gauges
from manifold.ledger.gauges import Gauges, Living, Stand, WorkersOfHost
from manifold.ledger.states import CONDITIONS
from manifold.monitors.watch import EngineWatch, Seen
from manifold.policy import Policy
from manifold.redaction import without_login

log = logging.getLogger(__name__)

Tallies = dict[tuple[str, str], float]
"""What was counted, by engine and name (`manifold.coordinator.counters`)."""

# name in the tally → metric, help, label of the part after the colon
_COUNTERS: tuple[tuple[str, str, str, str | None], ...] = (
    ("items", "manifold_items", "Outcomes of items that were recorded, those of re-runs again.", "outcome"),
    ("retries", "manifold_item_retries", "Executions of items beyond the first in a chunk.", None),
    ("lost", "manifold_chunks_lost", "Chunks whose worker or message was lost; they run again.", None),
    ("speculations", "manifold_speculations", "Second copies of stragglers, by whether they were first.", "result"),
    ("bytes", "manifold_bytes", "Bytes of items sent to workers (in) and of results in the store (out).", "direction"),
)
# in the tally, and its help
_HISTOGRAMS = {
    "chunk_seconds": "Seconds of work in a chunk.",
    "first_result_seconds": "Seconds from the beginning of a try at a scatter to its first commit.",
}
_STATES = tuple(state for state in CONDITIONS if state != "replaced")
_PARTS = {
    "items": ("succeeded", "failed", "skipped"),
    "speculations": ("won", "lost"),
    "bytes": ("in", "out"),
}


class LedgerCollector(Collector):
    """Asks the ledger anew at each scrape, in one short transaction.

    Args:
        opened: gives the ledger; called again after it failed.
        watch: what is known of the engines themselves; None: only what coordinators have written down.
    """

    def __init__(self, opened: Callable[[], Ledger], watch: EngineWatch | None = None) -> None:
        self._opened = opened
        self._watch = watch
        self._ledger: Ledger | None = None
        self._turn = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        return ()  # else the registry would ask the ledger when it is made

    def collect(self) -> Iterator[Metric]:
        seen = self._watch.seen() if self._watch is not None else {}
        try:
            found = self._read()
        except ManifoldError as exc:
            log.warning("the ledger tells nothing: %s", exc)
            found = None
        yield GaugeMetricFamily("manifold_ledger_up", "1 if the ledger answered this scrape.", float(found is not None))
        yield from _engines(seen)
        yield from _workers(found.worker_groups if found is not None else [], seen)
        if found is not None:
            engines = sorted({*seen, *(engine for engine, _ in found.tallies), *map(_engine_of, found.stands)})
            yield _refused(engines, found.tallies, seen)
            yield from _scatters(found)
            yield from _chunks(found.living)
            yield from _counters(engines, found.tallies)
            yield from _histograms(engines, found.tallies)

    def _read(self) -> Gauges:
        with self._turn:
            if self._ledger is None:
                self._ledger = self._opened()
            return gauges.read(self._ledger)


class Page:
    """The metrics as a page of a web server of which one process runs. `render` asks the ledger, so not in an event
    loop; `content_type` goes with it."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, opened: Callable[[], Ledger]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(LedgerCollector(opened))

    def render(self) -> bytes:
        """The figures as they are now."""
        return generate_latest(self._registry)


def _scatters(found: Gauges) -> Iterator[Metric]:
    states: dict[str, int] = dict.fromkeys(_STATES, 0)
    quarantined: dict[str, int] = {}
    for one in found.stands:
        states[one.state] += one.scatters
        engine = _engine_of(one)
        quarantined[engine] = quarantined.get(engine, 0) + one.quarantined
    yield _gauge("manifold_scatters", "Scatters by state, as the page shows it.", states)
    text = "Items that are failed now, in the quarantines of all scatters."
    yield _gauge("manifold_items_quarantined", text, quarantined, "engine")
    silence: dict[str, float] = {}
    left: dict[str, int] = {}
    for row in found.living:
        engine = without_login(row.engine)
        silence[engine] = max(silence.get(engine, 0.0), 0.0 if row.paused else row.silence)
        left[engine] = left.get(engine, 0) + max(0, (row.total or row.done) - row.done)
    text = "Seconds since the latest commit of the running scatter that has waited longest, paused ones left out."
    yield _gauge("manifold_scatter_silence_seconds", text, silence, "engine")
    text = "Items of running scatters without an outcome, where their number is known or expected."
    yield _gauge("manifold_items_remaining", text, left, "engine")


def _chunks(living: list[Living]) -> Iterator[Metric]:
    flying: dict[str, int] = {}
    pending: dict[tuple[str, str], int] = {}
    for row in living:
        engine = without_login(row.engine)
        flying[engine] = flying.get(engine, 0) + row.in_flight
        key = engine, queue_of(row)
        pending[key] = pending.get(key, 0) + pending_chunks(row)
    yield _gauge("manifold_chunks_in_flight", "Chunks that were sent and have not come back.", flying, "engine")
    metric = GaugeMetricFamily(
        "manifold_chunks_pending",
        "Chunks of running scatters that are not done: in flight, and those still to be sent by their size so far.",
        labels=("engine", "queue"),
    )
    for labels, count in sorted(pending.items()):
        metric.add_metric(labels, count)
    yield metric


def pending_chunks(row: Living) -> int:
    """How many chunks a scatter still is, about: what an autoscaler counts its workers by."""
    if row.paused:
        return row.in_flight
    if row.total is None:
        return row.in_flight + 1  # where all workers are scaled away, nothing is in flight
    size = row.items / row.chunks if row.chunks and row.items else _first_size(row)
    return max(row.in_flight, math.ceil((row.total - row.done) / size))


def _first_size(row: Living) -> float:
    return float(row.policy.get("chunk_size") or row.policy.get("first_chunk") or Policy().first_chunk)


def queue_of(row: Living) -> str:
    """The queue that a scatter's chunks wait in; "" on this host's own engines, and for the broker's default queue."""
    if queue := row.policy.get("worker_queue"):
        return str(queue)
    place = unquote(urlsplit(without_login(row.engine)).netloc)
    return "" if place.isdigit() else place  # the number of workers, of an engine on one host


def _engines(seen: dict[str, Seen]) -> Iterator[Metric]:
    reachable = {engine: int(one.reachable) for engine, one in seen.items()}
    yield _gauge("manifold_engine_reachable", "1 if the engine's broker answers.", reachable, "engine")
    slots = {engine: one.slots for engine, one in seen.items()}
    yield _gauge("manifold_engine_slots", "Chunks that the engine's workers can run at once.", slots, "engine")


def _engine_of(one: Stand) -> str:
    return without_login(one.engine)


def _refused(engines: list[str], tallies: Tallies, seen: dict[str, Seen]) -> Metric:
    counted = {engine: value for (engine, name), value in tallies.items() if name == "refused"}
    for engine, one in seen.items():
        counted[engine] = counted.get(engine, 0) + one.refused
    text = "Messages that nobody of this deployment had signed, and that were not unpickled."
    metric = CounterMetricFamily("manifold_messages_refused", text, labels=("engine",))
    for engine in engines:
        metric.add_metric((engine,), counted.get(engine, 0))
    return metric


def _workers(worker_groups: list[WorkersOfHost], seen: dict[str, Seen]) -> Iterator[Metric]:
    """Of an engine that is watched, what the engine says; of others, what coordinators have heard."""
    heard = [(without_login(one.engine), one) for one in worker_groups]
    told = [(engine, one) for engine, one in heard if engine not in seen]
    told += [(engine, one) for engine, each in seen.items() for one in each.worker_groups]
    up = GaugeMetricFamily("manifold_worker_up", "Worker processes of the host that give signs of life.", labels=_HOST)
    busy = GaugeMetricFamily("manifold_worker_busy", "Worker processes of the host that run a chunk.", labels=_HOST)
    text = "Seconds since the latest sign of life of a worker process of the host."
    silence = GaugeMetricFamily("manifold_worker_last_heartbeat_seconds", text, labels=_HOST)
    running = {(engine, one.host): one.busy for engine, one in heard}
    for engine, one in sorted(told, key=lambda pair: (pair[0], pair[1].host)):
        labels = engine, one.host
        up.add_metric(labels, one.up)
        busy.add_metric(labels, min(one.up, max(one.busy, running.get(labels, 0))))
        silence.add_metric(labels, one.silence)
    yield from (up, busy, silence)


_HOST = ("engine", "host")


def _counters(engines: list[str], tallies: Tallies) -> Iterator[Metric]:
    """Every engine that is known has every counter, so that a rate has a first value to begin at."""
    for name, metric_name, text, label in _COUNTERS:
        metric = CounterMetricFamily(metric_name, text, labels=("engine", label) if label else ("engine",))
        for engine in engines:
            for part in _PARTS.get(name, ("",)):
                key = f"{name}:{part}" if part else name
                metric.add_metric((engine, part) if part else (engine,), tallies.get((engine, key), 0))
        yield metric


def _histograms(engines: list[str], tallies: Tallies) -> Iterator[Metric]:
    for histogram, text in _HISTOGRAMS.items():
        metric = HistogramMetricFamily(f"manifold_{histogram}", text, labels=("engine",))
        for engine in engines:
            of = {name: value for (whose, name), value in tallies.items() if whose == engine}
            metric.add_metric((engine,), *_buckets(histogram, of))
        yield metric
    of = {}
    for (_, name), value in tallies.items():
        of[name] = of.get(name, 0.0) + value
    text = "Seconds of a coordinator's commit to the ledger."
    metric = HistogramMetricFamily("manifold_ledger_commit_seconds", text, labels=())
    metric.add_metric((), *_buckets("commit_seconds", of))
    yield metric


def _buckets(name: str, of: dict[str, float]) -> tuple[list[tuple[str, float]], float]:
    """The cumulative buckets and the sum."""
    found, so_far = [], 0.0
    for bound in (*(f"{bound:g}" for bound in BUCKETS[name]), REST):
        so_far += of.get(f"{name}:{bound}", 0.0)
        found.append(("+Inf" if bound == REST else str(float(bound)), so_far))
    return found, of.get(f"{name}:sum", 0.0)


def _gauge(name: str, text: str, values: dict[str, Any], label: str = "state") -> GaugeMetricFamily:
    metric = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in sorted(values.items()):
        metric.add_metric((key,), value)
    return metric
