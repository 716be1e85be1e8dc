"""What goes in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar


class Source(ABC):
    """What goes in: a sequence of items, read in order, as often as asked.

    * `read(start)` yields the items from position `start` on, the same ones each time.
    * Nothing is opened before `read` or `pin`; nothing is materialised whole.
    * `pin` comes first; `fingerprint`, `total`, `changes`, `slice` and `read` speak of what was pinned.
    * An input that turns out not to be the pinned one raises ItemsChanged; one that cannot be read is a ConfigError.
    """

    kind: ClassVar[str]
    """Its name in the ledger: "range", "list", "files", "iterable", "iterator", "results", "zipped"."""
    one_shot: bool = False
    """Can be read only once (a generator), so items must be kept until they are committed."""
    sliceable: bool = False
    """`slice` costs only what it returns, so a chunk of a range travels as a range."""

    @abstractmethod
    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        """Fix what "the input" is, as a small JSON-like dict. `pinned` is what the first try got; None is the first."""

    @abstractmethod
    def fingerprint(self) -> str | None:
        """A digest that changes when the input does, cheap to make; None where only its items can be digested."""

    @abstractmethod
    def total(self) -> int | None:
        """How many items, if known without reading them."""

    @abstractmethod
    def read(self, start: int = 0) -> Iterator[Any]: ...

    def slice(self, start: int, stop: int) -> Sequence[Any]:
        """The items [start, stop), fewer at the end of the input."""
        return list(islice(self.read(start), stop - start))

    def changes(self) -> str | None:
        """What differs from what the first try pinned, as a clause for people; None if it cannot say."""
        return None

    def share_read(self) -> float | None:
        """How much of the input the latest `read` has gone through, from 0 to 1, for an estimate of the end only."""
        return None
