"""Which of the workers that have room gets the next call: `?balance=least-busy`, `round-robin` or `random`."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from manifold.errors import ConfigError

Balance = Callable[[Mapping[str, int]], str | None]
"""Choose a worker by the calls that each still takes; None where no one has room."""
BALANCES = ("least-busy", "round-robin", "random")


def balance(name: str) -> Balance:
    """Return the rule of that name; raises ConfigError where there is none."""
    if name not in BALANCES:
        raise ConfigError(f"balance={name!r} must be one of {', '.join(BALANCES)}")
    if name == "round-robin":
        return _RoundRobin()
    return _random if name == "random" else _least_busy


def _least_busy(room: Mapping[str, int]) -> str | None:
    """The one with the most room: large workers are filled first, equal ones take turns by what they hold."""
    name = max(room, key=room.__getitem__, default=None)
    return name if name is not None and room[name] > 0 else None


def _random(room: Mapping[str, int]) -> str | None:
    free = [name for name, slots in room.items() if slots > 0]
    return random.choice(free) if free else None  # nosec B311 # no secret hangs on it


class _RoundRobin:
    """Each in its turn, by name, whatever it has to do; those without room are passed over."""

    def __init__(self) -> None:
        self._latest = ""

    def __call__(self, room: Mapping[str, int]) -> str | None:
        free = sorted(name for name, slots in room.items() if slots > 0)
        if not free:
            return None
        self._latest = next((name for name in free if name > self._latest), free[0])
        return self._latest
