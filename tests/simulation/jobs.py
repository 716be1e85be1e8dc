"""What tries give to their items, and whether a change of it is judged right: by what was given, not by digests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from manifold.events import ScatterStarted
from tests.simulation.work import Given
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.setting import TrySpec

Scatter = dict[str, Any]


class Jobs:
    """Knows which function, which globals and which constants the ledger has recorded for each scatter, and whose."""

    def __init__(self, world: World) -> None:
        self.specs: dict[str, TrySpec] = {}  # who → what it asks for
        self.crossed = world.crossed
        self._of: dict[str, Given] = {}  # the key of a function, or the uid of a scatter without one → what it gives
        self._recorded: dict[str, list[Given]] = defaultdict(list)  # uid → all that it was given, in order
        self._changed: dict[tuple[str, str], tuple[bool, bool]] = {}  # uid, who → another function, another constant

    def given(self, who: str) -> Given | None:
        """What that process gives to items; None where it is no coordinator."""
        spec = self.specs.get(who)
        return None if spec is None else spec.given()

    def begin(self) -> Mapping[str, int]:
        """Where a try begins: how much was recorded of each scatter."""
        return {uid: len(given) for uid, given in self._recorded.items()}

    def look(self, old: Scatter | None, new: Scatter, who: str) -> Iterator[str]:
        """`who` has written: a change that it was to refuse, or to begin from scratch for, is not gone past."""
        mine, uid = self.given(who), new["uid"]
        if mine is None:
            return
        if old is None:
            self._record(uid, uid, mine)
        elif new["state"] == "replaced" != old["state"] and self.specs[who].mode != "fresh":
            self.crossed["a change for which it began from scratch"] += 1
            if all(given == mine for given in self._recorded[uid]):
                yield "it was replaced, although it is given what it was given before"
        if new["fn_key"] is None or (old is not None and new["fn_key"] == old["fn_key"]):
            return
        before = mine if old is None else self._of.get(old["fn_key"] or uid, mine)
        self._record(uid, new["fn_key"], mine)
        if before != mine and self.specs[who].on_code_changed != "warn":
            yield f"it goes on with {mine}, was given {before}, and was to {self.specs[who].on_code_changed} then"
        self._changed.setdefault((uid, who), (before[1:] != mine[1:], before.constant != mine.constant))

    def _record(self, uid: str, key: str, given: Given) -> None:
        self._of[key] = given
        self._recorded[uid].append(given)

    def told(self, who: str, event: ScatterStarted) -> Iterator[str]:
        """People are warned of what has changed, and of nothing else."""
        code = any(text.startswith("the code of") for text in event.warnings)
        constants = any(text.startswith("the constants differ") for text in event.warnings)
        changed = self._changed[event.uid, who]
        if (code, constants) != changed:
            yield f"tells that code and constants changed: {code}, {constants}; and they did: {changed}"
        if code:
            self.crossed["a change that was told"] += 1

    def returned(self, who: str, uid: str, began: Mapping[str, int]) -> Iterator[str]:
        """Results that were there already, for which nothing was asked or told, are of the same work."""
        mine, recorded = self.given(who), self._recorded[uid]
        since = recorded[max(0, began.get(uid, 0) - 1) :]
        if mine not in since:
            yield f"gives {mine}, and gets without a word what was made with {since[-1:]}"
