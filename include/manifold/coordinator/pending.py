"""What is still to be sent: chunks that came back, then what the plan has left, then what failed in earlier tries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from manifold.coordinator import planner
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.dispatch import Dispatch
from manifold.coordinator.redrive import Redrive

if TYPE_CHECKING:
    from manifold.ledger import Ledger


class PendingChunks:
    """The chunks of one try that nobody is at work on.

    Args:
        planner: None where only failed items are run again.
        redrive: None where nothing failed before.
        ended: is told the number of items when the planner has met the end of the input.
    """

    def __init__(
        self,
        ledger: Ledger,
        uid: str,
        dispatch: Dispatch,
        planner: planner.Planner | None,
        redrive: Redrive | None,
        ended: Callable[[int], None],
    ) -> None:
        self._ledger = ledger
        self._uid = uid
        self._dispatch = dispatch
        self._planner = planner
        self._redrive = redrive
        self._ended = ended
        self._ready: deque[Chunk] = deque()

    @property
    def ready(self) -> bool:
        """Chunks wait that were planned once already."""
        return bool(self._ready)

    @property
    def empty(self) -> bool:
        """Nothing is left to send, as far as is known."""
        return not self._ready and self._planner is None and self._redrive is None

    def expected(self) -> int | None:
        """How many items the input will have, where only how much of it is read can tell."""
        return self._planner.expected() if self._planner is not None else None

    def put(self, chunks: Iterable[Chunk]) -> None:
        """Send these (again), before anything new; but not what a copy is at work on: that stands for them."""
        for chunk in chunks:
            if any(planner.missing(chunk.start, chunk.stop, self._in_hand(chunk.layer, chunk.start, chunk.stop))):
                self._ready.append(chunk)

    def put_back(self, chunk: Chunk) -> None:
        """It was taken, and could not be sent yet."""
        self._ready.appendleft(chunk)

    def replan(self, planner: planner.Planner) -> None:
        """Look through the input once more."""
        self._planner = planner

    def redrive(self, redrive: Redrive) -> None:
        """Run what it has again, too."""
        self._redrive = redrive

    def take(self, now: float, size: Callable[[int | None], int], most: int) -> Chunk | None:
        """The next chunk that may be sent at `now`; `size(items left to plan)` says how large a new one is.

        One that was planned before more than `most` items were known to be too many is cut.
        """
        for index, chunk in enumerate(self._ready):
            if chunk.not_before <= now:
                del self._ready[index]
                if len(chunk) > most and not chunk.strikes:
                    self._ready.insert(index, chunk.part(most, len(chunk), chunk.why))
                    chunk = chunk.part(0, most, chunk.why)
                return chunk
        if self._planner is not None:
            chunk_or_none = self._planner.next(size(self._planner.remaining()))
            if chunk_or_none is not None:
                return chunk_or_none
            if self._planner.ended_at is not None:
                self._ended(self._planner.ended_at)
            self._planner = None
        if self._redrive is not None:
            chunk_or_none = self._redrive.next(size(None))
            if chunk_or_none is not None:
                return chunk_or_none
            self._redrive = None
        return None

    def again(self, chunk: Chunk, start: int, stop: int) -> None:
        """Queue the parts of [start, stop) of `chunk` that nobody has committed and nobody is at work on."""
        taken = self._in_hand(chunk.layer, start, stop)
        if chunk.positions is not None:
            self._overlay_again(chunk, list(planner.missing(start, stop, taken)))
            return
        taken += self._ledger.covered(self._uid, chunk.layer, start, stop)
        for low, high in planner.missing(start, stop, taken):
            self._ready.append(chunk.part(low - chunk.start, high - chunk.start, chunk.why))

    def _overlay_again(self, chunk: Chunk, spans: list[tuple[int, int]]) -> None:
        """The items of an overlay within `spans` that are failed as they were before this try."""
        assert chunk.positions is not None
        failed = self._ledger.failures(self._uid, after=chunk.start - 1, limit=chunk.stop - chunk.start)
        left = {one.pos for one in failed if one.epoch < chunk.layer}
        free = {pos for pos in left if any(low <= pos < high for low, high in spans)}
        indexes = [index for index, pos in enumerate(chunk.positions) if pos in free]
        # Neighbours go together: an index less its rank is the same along a run.
        for _, run in groupby(enumerate(indexes), lambda ranked: ranked[1] - ranked[0]):
            same = [index for _, index in run]
            self._ready.append(chunk.part(same[0], same[-1] + 1, chunk.why))

    def _in_hand(self, layer: int, start: int, stop: int) -> list[tuple[int, int]]:
        """The ranges that somebody is at work on, or that wait here."""
        waiting = [(one.start, one.stop) for one in self._ready if one.layer == layer]
        return [*self._dispatch.covering(layer, start, stop), *waiting]
