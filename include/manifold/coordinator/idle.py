"""Work, and nobody to do it."""

from __future__ import annotations

from manifold.abc import Engine
from manifold.coordinator.obstacle import WAITING, Obstacle
from manifold.coordinator.reporter import Reporter
from manifold.errors import EngineError

_SECONDS = 60.0


class IdleWatch:
    """Says, once a minute, that the engine has no slot for what is to be done.

    Args:
        url: of the engine, for people.
        now: monotonic seconds; as that of `look`.
    """

    def __init__(self, engine: Engine, url: str, obstacle: Obstacle, report: Reporter, now: float) -> None:
        self._engine = engine
        self._url = url
        self._obstacle = obstacle
        self._report = report
        self._since = now

    def look(self, now: float) -> None:
        """Look at the engine; raises EngineError where nobody will ever come."""
        if (why := self._engine.broken()) is not None:
            raise EngineError(f"{self._url} cannot go on: {why}. What is committed stays; the next try continues")
        if self._engine.slots():
            self._since = now
            self._obstacle.over(WAITING)
        elif now - self._since >= _SECONDS:
            self._since = now
            trouble = self._engine.check() or "it has no free slot"
            self._obstacle.met(why := f"{WAITING}{self._url}: {trouble}")
            self._report.notice("warning", why)
