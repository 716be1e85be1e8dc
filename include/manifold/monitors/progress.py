"""A progress bar on the terminal: items done, rate, time left, failures."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from manifold import events, logs
from manifold.abc import Monitor
from manifold.monitors.log import LogMonitor
from manifold.monitors.warnings import LogWarnings
from manifold.rates import Work, recent_rate
from manifold.text import visible

_NEWEST = 1000  # commits that the rate is told by


class ProgressMonitor(Monitor):
    """Shows the net counters of the ledger as they stand after each commit."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[note]}"),
            console=console or Console(stderr=True),
            transient=False,
        )
        self._task: TaskID | None = None
        self._done = 0
        self._seconds = 0.0
        self._work: deque[tuple[float, int, float]] = deque(maxlen=_NEWEST)

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.ScatterStarted):
            done = self._done = event.n_ok + event.n_failed + event.n_skipped
            self._progress.start()
            self._task = self._progress.add_task(
                visible(event.name), total=event.total, completed=done, rate="", left="", note=""
            )
            for text in event.warnings:
                self._say(text)
        elif self._task is None:
            return
        elif isinstance(event, events.ChunkCommitted):
            self._seconds = max(self._seconds, event.seconds)
        elif isinstance(event, events.Progress):
            self._update(event)
        elif isinstance(event, events.Notice) and event.level == "warning":
            self._say(event.text)
        elif isinstance(event, events.ScatterEnded):
            done = event.n_ok + event.n_failed + event.n_skipped
            self._progress.update(self._task, total=event.total, completed=done, left="", note=_note(event))
            self.close()

    def close(self) -> None:
        self._progress.stop()

    def _say(self, text: str) -> None:
        self._progress.console.print(Text(visible(text), style="yellow"))

    def _update(self, event: events.Progress) -> None:
        assert self._task is not None
        done = event.n_ok + event.n_failed + event.n_skipped
        speed = self._speed(done)
        rate = f"{speed:,.3g}/s" if speed and speed < 100 else f"{speed:,.0f}/s" if speed else ""
        left = max(0, event.total - done) / speed if speed and event.total and not event.paused else None
        shown = "" if left is None else f"about {timedelta(seconds=round(left))} left"
        self._progress.update(self._task, total=event.total, completed=done, rate=rate, left=shown, note=_note(event))

    def _speed(self, done: int) -> float | None:
        """The rate of the last minute, as `manifold show` has it."""
        now = time.monotonic()
        if done > self._done:
            self._work.appendleft((now, done - self._done, self._seconds))
        self._done, self._seconds = done, 0.0
        work = [Work(now - at, items, seconds) for at, items, seconds in self._work]
        return recent_rate(work, complete=len(work) < _NEWEST)


def default() -> Sequence[Monitor]:
    """Log lines where they were asked for, else a progress bar where there is a terminal to show it, else nothing."""
    if logs.wanted():
        return [LogMonitor()]
    return [ProgressMonitor()] if sys.stderr.isatty() else []


def with_warnings(monitors: Sequence[Monitor]) -> list[Monitor]:
    """`monitors`, and one that logs warnings, unless one of them does, or shows them where a log would come too."""
    shown = any(isinstance(monitor, ProgressMonitor) for monitor in monitors)
    if any(monitor.warns for monitor in monitors) or (shown and not logging.getLogger("manifold").hasHandlers()):
        return list(monitors)
    return [*monitors, LogWarnings()]


def _note(event: events.Progress | events.ScatterEnded) -> str:
    parts = [f"[red]{event.n_failed:,} failed"] if event.n_failed else []
    parts += [f"{event.n_skipped:,} skipped"] if event.n_skipped else []
    parts += ["paused"] if isinstance(event, events.Progress) and event.paused else []
    return " ".join(parts)
