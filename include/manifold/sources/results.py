"""The results of another scatter as an input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from manifold.abc import Source

if TYPE_CHECKING:
    from manifold.results.results import Results

_STEP = 1000  # results that are passed over rather than looked for


class ResultsSource(Source):
    """What succeeded in another scatter, in order, as its handle shows it. A later redrive of it changes nothing."""

    kind = "results"
    sliceable = True

    def __init__(self, results: Results) -> None:
        self._results = results
        self._changes: str | None = None
        self._ahead: Iterator[Any] = iter(())
        self._at: int | None = None  # the number of the result that `_ahead` gives next

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ahead": iter(()), "_at": None}

    def __repr__(self) -> str:
        return repr(self._results)

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        now = {"uid": self._results.uid, "as_of": self._results.as_of}
        if pinned is not None and pinned != now:
            same = pinned["uid"] == now["uid"]
            self._changes = f"scatter {now['uid']} was {'redriven' if same else 'run in place of ' + pinned['uid']}"
        return now

    def fingerprint(self) -> str:
        return f"results:{self._results.uid}:{self._results.as_of}"

    def total(self) -> int:
        return len(self._results)

    def read(self, start: int = 0) -> Iterator[Any]:
        return iter(self._results[start:])

    def slice(self, start: int, stop: int) -> Sequence[Any]:
        # Chunks are cut from the beginning to the end, so a walk goes on where the last one ended: to look for each
        # anew would read a page of the ledger and a whole blob for it, however few items it has.
        if self._at is None or not self._at <= start <= self._at + _STEP:
            self._ahead, self._at = iter(self._results[start:]), start
        found = list(islice(self._ahead, start - self._at, stop - self._at))
        self._at = start + len(found)
        return found

    def changes(self) -> str | None:
        return self._changes
