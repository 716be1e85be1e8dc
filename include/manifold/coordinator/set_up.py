"""What a worker that cannot set the function up means: the chunk goes elsewhere, until several processes fail alike.

A factory of `per_worker` that meets a database without a free connection, a host without the package, a GPU that is
broken, a worker of yesterday's version: each is the fault of one process or host, and the others continue.
"""

from __future__ import annotations

from manifold.coordinator.chunks import Chunk
from manifold.errors import EngineError, ManifoldError, VersionMismatch

SEVERAL = 3
"""So many processes that fail alike, with no chunk run by anybody since, are taken for all; where there are fewer
processes, all of them. And a chunk is refused so often, with growing pauses, before anything ends."""
UNNAMED = "a worker that the engine does not name"
"""Stands for each process whose call failed outside of any item, and which nobody can tell from the others."""
_LONGEST_PAUSE = 30.0  # seconds
_SHORT_PAUSE = 1.0  # the longest one where other processes run chunks: the next one to take it is likely one of them


class SetUpFailures:
    """Remembers which processes could not set the function up since a chunk was last run."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], dict[str, None]] = {}
        self._longest = _LONGEST_PAUSE

    def ran(self) -> None:
        """Forget them: some process has run a chunk."""
        self._failed.clear()
        self._longest = _SHORT_PAUSE

    def failed(self, chunk: Chunk, worker: str, kind: str, text: str, *, processes: int, now: float) -> float:
        """Count one, and return the seconds until `chunk` may be sent again.

        Args:
            worker: the name of the process, or whatever tells it from others.
            kind: "versions", "package" or "set-up".
            text: what happened, beginning with the exception's type where there is one.
            processes: that are alive now.

        Raises:
            EngineError, VersionMismatch: several processes failed alike; the message names them.
        """
        alike = self._failed.setdefault((kind, text.partition(":")[0] if kind == "set-up" else ""), {})
        alike[worker] = None
        chunk.refused += 1
        unnamed = worker == UNNAMED and chunk.refused >= 2 * SEVERAL
        if unnamed or (chunk.refused >= SEVERAL and len(alike) >= min(SEVERAL, max(1, processes))):
            raise _error(kind, sorted(alike), text)
        pause = min(self._longest, 0.25 * 2.0 ** min(chunk.refused, 10))
        chunk.not_before = now + pause
        return pause


def _error(kind: str, workers: list[str], text: str) -> ManifoldError:
    who = workers[0] if len(workers) == 1 else f"{len(workers)} processes ({', '.join(workers)})"
    if kind == "set-up":
        return EngineError(f"the function could not be set up on {who}, so no item is to blame: {text}")
    failure = VersionMismatch if kind == "versions" else EngineError
    return failure(text if len(workers) == 1 else f"{text}\nSo it is on {who}")
