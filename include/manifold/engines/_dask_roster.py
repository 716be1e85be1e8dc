"""What a coordinator knows of the workers of a Dask cluster, by what they have signed and what the scheduler says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from manifold.engines._dask_worker import NAME, Pulse, opened
from manifold.errors import WireError

_CLOSED_AT_ONCE = 10.0
"""Seconds. A connection that ends sooner after a sign of life was closed by a host that lives: by its kernel, when the
process ended. That a whole host is gone, a scheduler learns later, from its silence."""
_LIVES = 10_000  # processes whose latest number is remembered

NO_NANNY = "it has no nanny, so nobody could end an item there; start it without --no-nanny"
NO_PLUGIN = 'it has not loaded Manifold; install "airflow-manifold[dask]" there'


@dataclass(slots=True)
class _Known:
    life: str
    number: int
    at: float


class Roster:
    """For the thread that looks at the cluster; `newer` also for the one in which events come.

    Attributes:
        unfit: workers that get no calls, each with the reason.
        refused: messages that nobody of this deployment had signed, by the process of a worker's that says so.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._latest: LRUCache[str, int] = LRUCache(_LIVES)
        self.unfit: dict[str, str] = {}
        self.refused: LRUCache[str, int] = LRUCache(_LIVES)

    def life(self, name: str) -> str:
        """Return the process that a worker's address leads to."""
        return self._known[name].life

    def name(self, life: str) -> str | None:
        """Return the address of a process."""
        return next((name for name, known in list(self._known.items()) if known.life == life), None)

    def newer(self, number: int, pulse: Pulse) -> bool:
        """True for what says more than all that came before from that process."""
        if number <= self._latest.get(pulse.life, 0):
            return False
        self._latest[pulse.life] = number
        self.refused[pulse.life] = pulse.refused
        return True

    def departed(self, workers: dict[str, Any], now: float) -> list[tuple[str, bool]]:
        """Return the workers that are not there any more, and whether their hosts certainly are; they are forgotten."""
        names = [name for name, known in self._known.items() if name not in workers or self._is_another(name, workers)]
        return [(name, now - self._known.pop(name).at < _CLOSED_AT_ONCE) for name in names]

    def all(self) -> list[str]:
        """Return and forget all workers."""
        names = list(self._known)
        self._known.clear()
        return names

    def present(self, name: str, worker: dict[str, Any], now: float) -> tuple[int, Pulse] | None:
        """Return the number and the sign of life of a worker that takes calls, if it is a new one."""
        self.unfit.pop(name, None)
        if not (text := worker["metrics"].get(NAME)):
            self.unfit[name] = NO_PLUGIN
            return None
        try:
            number, pulse = opened(text)
        except WireError as exc:
            self.unfit[name] = f"it does not sign as it is done here: {exc}. Give it the same MANIFOLD_SECRET"
            return None
        if not worker["nanny"]:
            self.unfit[name] = NO_NANNY
            return None
        known = self._known.get(name)
        if known is not None and number <= known.number:
            return None
        self._known[name] = _Known(pulse.life, number, now)
        return number, pulse

    def _is_another(self, name: str, workers: dict[str, Any]) -> bool:
        """A worker with a fixed port was started again between two looks."""
        try:
            return opened(workers[name]["metrics"].get(NAME))[1].life != self._known[name].life
        except WireError:
            return False
