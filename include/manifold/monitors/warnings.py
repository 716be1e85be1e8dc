"""What a person must know of a scatter in plain Python, by Python's own logging, whether or not a terminal is there."""

from __future__ import annotations

import logging

from manifold import events
from manifold.abc import Monitor
from manifold.text import visible

log = logging.getLogger(__name__)


class LogWarnings(Monitor):
    """Logs what differs from the tries before (code, constants, input), and notices that are warnings."""

    warns = True

    def __init__(self) -> None:
        self._name = ""

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.ScatterStarted):
            self._name = visible(event.name)
            for text in event.warnings:
                log.warning("%s: %s", self._name, visible(text))
        elif isinstance(event, events.Notice) and event.level == "warning":
            log.warning("%s: %s", self._name, visible(event.text))
