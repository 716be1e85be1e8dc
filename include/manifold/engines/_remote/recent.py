"""Which calls a worker has taken lately, so that none runs twice there."""

from __future__ import annotations

from manifold.engines._remote.messages import WINDOW


class Recent:
    """The calls of the last `WINDOW` beats. An older one is refused by its age, so it needs no memory."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}

    def __contains__(self, call: str) -> bool:
        return call in self._calls

    def add(self, call: str, tick: int) -> None:
        """Note a call that came at that beat."""
        self._calls[call] = tick

    def forget(self, tick: int) -> None:
        """Drop what is so old that it would be refused for that. Cheap: they stand in the order of coming."""
        for call, at in list(self._calls.items()):
            if tick - at <= WINDOW:
                return
            del self._calls[call]
