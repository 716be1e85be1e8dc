"""A DAG run from its trigger to its end, with the ledger's counters on the screen."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Protocol

from manifold import events
from manifold.abc import Monitor
from manifold.demo.api import Api, ApiError
from manifold.demo.screen import Screen
from manifold.ledger import Ledger, scatter_name
from manifold.monitors.progress import ProgressMonitor
from manifold.protocol.records import ScatterRow


class Watched(Protocol):
    """What runs the DAG; `watch` raises StartError where the run cannot go on."""

    api: Api

    def watch(self) -> None: ...


def follow(stack: Watched, ledger: Ledger, dag_id: str, run_id: str, screen: Screen) -> str:
    """The state in which the run ended; shows its scatter meanwhile. Raises StartError where a service dies."""
    state = "queued"
    bar = _Bar(dag_id, ProgressMonitor(screen.console) if screen.console.is_terminal else PlainProgress(screen))
    try:
        while state not in ("success", "failed"):
            stack.watch()
            # A server under load may be late with an answer; a dead one is what `watch` is for.
            with suppress(ApiError):
                state = stack.api.state(dag_id, run_id)
            if row := scatter_of(ledger, dag_id, run_id):
                screen.done()
                bar.show(row)
            else:
                screen.waiting(f"the run is {state}; its scatter has not begun")
            time.sleep(0.3)
        if row := scatter_of(ledger, dag_id, run_id):
            bar.show(row)
    finally:
        bar.close()
        screen.done()
    return state


def scatter_of(ledger: Ledger, dag_id: str, run_id: str) -> ScatterRow | None:
    """The scatter that stands for that run; None while there is none."""
    rows = ledger.scatters(name_like=f"{scatter_name(dag_id, run_id)}/", limit=10)
    return next((row for row in rows if row.state != "replaced"), None)


class PlainProgress(Monitor):
    """Progress as a line of text every two seconds, for a log."""

    def __init__(self, screen: Screen, seconds: float = 2.0) -> None:
        self._screen = screen
        self._seconds = seconds
        self._began = self._told = time.monotonic()
        self._first = 0

    def emit(self, event: events.Event) -> None:
        now = time.monotonic()
        if isinstance(event, events.ScatterStarted):
            self._began = self._told = now
            self._first = event.n_ok + event.n_failed + event.n_skipped
        elif isinstance(event, events.Progress) and now - self._told >= self._seconds:
            self._told = now
            self._screen.say(self._line(event, now - self._began))

    def _line(self, event: events.Progress, seconds: float) -> str:
        done = event.n_ok + event.n_failed + event.n_skipped
        rate = (done - self._first) / seconds
        of = f" of {event.total:,}" if event.total else ""
        left = f", {(event.total - done) / rate:,.0f} s left" if event.total and rate else ""
        return f"{done:,}{of} items, {rate:,.0f}/s{left}, {event.n_failed:,} failed"


class _Bar:
    """Tells a monitor what the ledger's row of a scatter says, as a coordinator would."""

    def __init__(self, name: str, monitor: Monitor) -> None:
        self._name = name
        self._monitor = monitor
        self._uid = ""

    def show(self, row: ScatterRow) -> None:
        if row.uid != self._uid:
            self._uid = row.uid
            self._monitor.emit(
                events.ScatterStarted(row.uid, row.epoch, name=self._name, engine=row.engine, why="", total=row.total)
            )
        now = events.Progress(row.uid, row.epoch, row.of, row.n_ok, row.n_failed, row.n_skipped, in_flight=0, slots=0)
        self._monitor.emit(now)

    def close(self) -> None:
        self._monitor.close()
