"""What may go wrong, and how often it does in one seed: each seed has a few kinds of its own, and a bounded number."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection

KINDS = (
    # of coordinators, at every transaction, send, put, delete and event
    "crash",
    "stall",
    "commit in doubt",
    "submit fails",
    "monitor raises",
    # of the store
    "put fails",
    "put lost",
    "put fails, and took effect",
    "get fails",
    "delete fails",
    # of the engine
    "message lost",
    "message twice",
    "message late",
    "message given back",
    "future cancelled",
    "worker dies",
    "worker dies after its put",
    "worker drains",
    "worker is slow",
    "worker was lost, and comes back",
    "poison takes its coordinator",
    "answer lost",
    "answer twice",
    "answer late",
    "answer to the coordinator before",
    "worker not heard",
    # of the input
    "source fails",
)
ASKED_FOR = (
    "store goes away",  # while a worker speaks to it
    "database fails over before a re-run",  # is written down, and loses what was committed since the coordinator began
)
"""What happens only where it is asked for."""
_OFTEN = {
    "crash": 0.02,
    "stall": 0.02,
    "monitor raises": 0.01,
    "source fails": 0.005,
    "poison takes its coordinator": 0.5,
    "get fails": 0.02,
}


class Faults:
    """Chance. After `off` nothing goes wrong any more; `counts` says what did.

    Args:
        focus: kinds that are to happen often.
    """

    def __init__(self, rng: random.Random, log: Callable[[str], None], focus: Collection[str] = ()) -> None:
        self._rng = rng
        self._log = log
        self.left = rng.choice((0, 1, 2, 4, 8, 16))
        self.counts: Counter[str] = Counter()
        self._rates = {kind: _OFTEN.get(kind, 0.1) * rng.choice((0.3, 1, 3)) for kind in KINDS if rng.random() < 0.35}
        if focus:
            self.left += 8
            self._rates |= {kind: 0.5 if kind in ASKED_FOR else 0.15 for kind in focus}

    def hits(self, kind: str, where: str = "") -> bool:
        """It happens, here and now."""
        rate = self._rates.get(kind)
        if rate is None or self.left <= 0 or self._rng.random() >= rate:
            return False
        self.left -= 1
        self.counts[kind] += 1
        self._log(f"FAULT {kind}{': ' if where else ''}{where}")
        return True

    def off(self) -> None:
        """From now on all goes well."""
        self.left = 0
        self._log("all goes well from here on")
