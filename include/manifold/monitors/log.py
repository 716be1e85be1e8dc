"""A scatter as log lines: what happened, with scatter, chunk, attempt, worker and engine as fields of each line."""

from __future__ import annotations

import logging

from manifold import events, logs
from manifold.abc import Monitor
from manifold.redaction import without_login

log = logging.getLogger(__name__)


class LogMonitor(Monitor):
    """Writes to Python's own logging. Switched on by `MANIFOLD_LOG=json`, where there is no task's log."""

    warns = True

    def __init__(self) -> None:
        self._name: str | None = None
        self._engine: str | None = None
        logs.setup()

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.ScatterStarted):
            self._name, self._engine = event.name, without_login(event.engine)
        with logs.about(scatter=event.uid, scatter_name=self._name, engine=self._engine, **logs.fields_of(event)):
            self._line(event)

    def _line(self, event: events.Event) -> None:
        match event:
            case events.ScatterStarted():
                level = logging.WARNING if event.warnings else logging.INFO
                log.log(level, "the scatter begins: %s", event.why)
            case events.ChunkCommitted():
                log.info("items %d to %d are committed", event.start, event.stop - 1)
                for one in event.failures:
                    log.warning("item %d failed: %s: %s", one.pos, one.type, one.message)
            case events.ChunkLost():
                log.warning("items %d to %d run again: lost (%s)", event.start, event.stop - 1, event.reason)
            case events.Notice():
                log.log(logging.getLevelNamesMapping().get(event.level.upper(), logging.INFO), "%s", event.text)
            case events.ScatterEnded():
                what = "scatter" if event.final else "try"
                log.log(level_of_end(event), "the %s ends: %s", what, event.message or event.state)


def level_of_end(event: events.ScatterEnded) -> int:
    """Return the level of an end: one that somebody asked for, or that the next try continues, is not an error."""
    levels = {"succeeded": logging.INFO, "drained": logging.INFO, "stopped": logging.WARNING}
    return levels.get(event.state, logging.ERROR)
