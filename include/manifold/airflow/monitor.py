"""A scatter in its task's log: how far it is, which items failed and what they said, what was lost, how it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from manifold import logs
from manifold.abc import Monitor
from manifold.events import ChunkCommitted, ChunkLost, Event, Notice, Progress, ScatterEnded, ScatterStarted
from manifold.monitors.log import level_of_end
from manifold.protocol.records import Failure, LogLine
from manifold.redaction import without_login
from manifold.text import duration, on_one_line, visible

_EVERY = 10.0  # seconds between two lines of progress
_SAMPLES = 5  # failed items shown in full for each kind of error
_LINES = 200  # lines of items' own output; the web page and `keep_logs` have the rest


class Logger(Protocol):
    """What is used of a task's logger, which is none of the standard library's."""

    def log(self, level: int, text: Any, /, *args: Any) -> Any: ...


class TaskLogMonitor(Monitor):
    """Writes to a task's log.

    Args:
        log: the task's logger.
        why: what the log says already of what this try does; only what comes on top is told.
        monotonic: seconds; for tests.
    """

    def __init__(self, log: Logger, why: str = "", monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._why = why
        self._monotonic = monotonic
        self._next = 0.0
        self._began = self._first = 0.0
        self._seen: dict[str, int] = {}
        self._lines_left = _LINES
        self._engine: str | None = None

    def emit(self, event: Event) -> None:
        if isinstance(event, ScatterStarted):
            self._engine = without_login(event.engine)
        with logs.about(scatter=event.uid, engine=self._engine, **logs.fields_of(event)):
            self._line(event)

    def _line(self, event: Event) -> None:
        match event:
            case ScatterStarted():
                self._started(event)
            case Progress():
                self._progress(event)
            case ChunkCommitted():
                self._committed(event)
            case ChunkLost():
                where = f" on {event.worker}" if event.worker else ""
                text = "items %s to %s run again: lost%s (%s)"
                self._tell(logging.WARNING, text, f"{event.start:,}", f"{event.stop - 1:,}", where, event.reason)
            case Notice():
                self._tell(_level(event.level), "%s", _Lines(event.text))
            case ScatterEnded():
                self._ended(event)

    def _tell(self, level: int, text: str, *args: Any) -> None:
        """Log it. What items say, or what they are called, is shown, and cannot pass for a line of its own."""
        self._log.log(level, text, *(_shown(one) if isinstance(one, str) else one for one in args))

    def _started(self, event: ScatterStarted) -> None:
        total = "an unknown number of" if event.total is None else f"{event.total:,}"
        self._tell(logging.INFO, "scatter %s over %s items on %s (%s)", event.uid, total, event.engine, event.name)
        if warnings := event.why.removeprefix(self._why).strip("; "):
            self._tell(logging.WARNING, "%s", warnings)
        self._began = self._monotonic()
        self._next = self._began + _EVERY
        self._first = event.n_ok + event.n_failed + event.n_skipped

    def _progress(self, event: Progress) -> None:
        now = self._monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY
        done = event.n_ok + event.n_failed + event.n_skipped
        rate = (done - self._first) / max(now - self._began, 1e-3)
        parts = [f"{done:,} items" if event.total is None else f"{done:,} of {event.total:,} items"]
        if event.total:
            parts[0] += f" ({done / event.total:.1%})"
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if event.total is not None and rate > 0:
            parts.append(f"{duration((event.total - done) / rate)} left")
        parts.append(f"{event.n_failed:,} failed, {event.n_skipped:,} skipped")
        parts.append(f"{event.in_flight} chunks out, {event.slots} slots" + (", paused" if event.paused else ""))
        self._tell(logging.INFO, "; ".join(parts))

    def _committed(self, event: ChunkCommitted) -> None:
        for failure in event.failures:
            self._failed(failure, event)
        failed = {failure.pos for failure in event.failures}
        for line in event.lines:
            self._said(line, event.worker, urgent=line.pos in failed)

    def _failed(self, failure: Failure, event: ChunkCommitted) -> None:
        seen = self._seen[failure.fingerprint] = self._seen.get(failure.fingerprint, 0) + 1
        if seen > _SAMPLES:
            if seen == _SAMPLES + 1:
                self._tell(logging.WARNING, "more items fail with this %s; the account counts them", failure.type)
            return
        label = "" if failure.key is None else f" ({failure.key})"
        self._tell(
            logging.WARNING,
            "item %s%s failed on %s after %d execution%s: %s: %s; the item: %s",
            f"{failure.pos:,}",
            label,
            event.worker,
            failure.attempts,
            "s" * (failure.attempts > 1),
            failure.type,
            failure.message,
            failure.item_repr,
        )
        if seen == 1 and (traceback := event.kinds.get(failure.fingerprint)):
            self._tell(logging.WARNING, "%s", _Lines(traceback))

    def _said(self, line: LogLine, worker: str, *, urgent: bool) -> None:
        if self._lines_left <= 0 and not urgent:
            return
        self._lines_left -= 1
        self._tell(_level(line.level), "item %s on %s: %s", f"{line.pos:,}", worker, line.text)
        if not self._lines_left:
            self._tell(logging.INFO, "only failed items' lines from here on; keep_logs=True keeps all in the store")

    def _ended(self, event: ScatterEnded) -> None:
        done = event.n_ok + event.n_failed + event.n_skipped
        text = "%s %s %s: %s succeeded, %s failed, %s skipped, %s without outcome, of %s%s"
        self._tell(
            level_of_end(event),
            text,
            event.state,
            "in" if event.final else "after",
            duration(event.seconds),
            f"{event.n_ok:,}",
            f"{event.n_failed:,}",
            f"{event.n_skipped:,}",
            "an unknown number" if event.total is None else f"{event.total - done:,}",
            "an unknown number" if event.total is None else f"{event.total:,}",
            _Lines(f": {event.message}" if event.message else ""),
        )


class _Lines(str):
    """Text that may have several lines."""


def _shown(text: str) -> str:
    return visible(text) if isinstance(text, _Lines) else on_one_line(text)


def _level(name: str) -> int:
    return logging.getLevelNamesMapping().get(name.upper(), logging.INFO)
