"""Every error that Manifold raises, below one root.

::

    ManifoldError
    ├── ConfigError               a URL, option or setting that cannot be used; also a ValueError
    │   └── MissingExtra          an adapter's client library is not installed
    ├── EngineError               an engine cannot be reached or used
    │   ├── WorkerLost            the process that held a chunk is gone, or its receipt is
    │   └── VersionMismatch       worker and coordinator cannot read each other's pickles
    ├── StoreError                a store cannot be reached or used; worth another try
    │   ├── BlobNotFound          the store answers, and has no such key
    │   └── StoreNotShared        this is another store than the one the scatter wrote to
    ├── WireError                 bytes that are not signed by us, or cut short, or altered
    ├── LedgerError               the ledger cannot be reached or used
    │   ├── LedgerUnavailable     its database was away for longer than the ledger waits
    │   ├── SchemaError           its tables are missing or of another version
    │   ├── ScatterBusy           another coordinator, which is alive, owns the scatter
    │   └── Fenced                another coordinator has taken the scatter over
    ├── ScatterError              a scatter ended without success
    │   ├── TooManyFailures       more items failed than `tolerate` allows
    │   ├── Cancelled             somebody ended it before its last item
    │   │   ├── Incomplete            the failed items ran again, as asked; others have no outcome yet
    │   │   ├── Drained           what ran has ended and is committed; it waits to be continued
    │   │   └── Stopped           its process was told to end; the next try continues
    │   ├── ItemsChanged          the input is not the one that was committed
    │   ├── InputGone             a one-shot input cannot be read again
    │   ├── CodeChanged           `on_code_changed="fail"` and the function changed
    │   └── EmptyReduce           nothing to fold and no `initial`
    ├── ResultsLost               committed results cannot be read back
    ├── ItemError                 one item's failure, as `Results.failures()` shows it
    │   ├── PoisonItem            the item kills the process that runs it
    │   ├── ItemTimeout           the item ran longer than `item_timeout`
    │   └── Unpicklable           the item or its result cannot cross to or from a worker
    ├── SkipItem                  raised by a user's function: count this item as skipped
    └── RetryItem                 raised by a user's function: try this item again

They cross processes by pickle, so none has an `__init__` of its own beyond one message;
what else they carry are plain attributes with a default on the class.
"""

from __future__ import annotations

from manifold.text import storable


class ManifoldError(Exception):
    """The root of all. Its text can be stored and logged, whatever names or messages of others stand in it."""

    def __str__(self) -> str:
        return storable(super().__str__())


class ConfigError(ManifoldError, ValueError):
    """A URL, option or setting that cannot be used; the message says which, and what would do."""


class MissingExtra(ConfigError):
    """An adapter's client library is not installed; the message gives the pip line."""


class EngineError(ManifoldError):
    """An engine cannot be reached or used."""


class WorkerLost(EngineError):
    """The process that held a chunk is gone, or its receipt is.

    Attributes:
        started: a worker had begun the chunk (False: it was lost on the way).
        died: the process ended unannounced (False: drained, redelivered, or unknown).
        position: items of the chunk that were done when it last reported; None if unknown.
        worker: its name; None if unknown.
        overdue: the engine ended it, because the item at `position` ran past `item_timeout` and did not yield.
        witnessed: whoever keeps the process (its parent, its host) lives and saw it end. Without a witness, and with
            no process of its host reports any more, the whole host may be gone, and no item is to blame.
    """

    started: bool = False
    died: bool = False
    position: int | None = None
    worker: str | None = None
    overdue: bool = False
    witnessed: bool = False


class VersionMismatch(EngineError):
    """Worker and coordinator cannot read each other's pickles."""


class StoreError(ManifoldError):
    """A store cannot be reached or used; worth another try.

    Attributes:
        exhausted: the process that wanted to use it has no file descriptor left, so the store is not to blame.
    """

    exhausted: bool = False


class BlobNotFound(StoreError):
    """The store answers, and has no such key."""


class StoreNotShared(StoreError):
    """This is another store than the one the scatter wrote to."""


class WireError(ManifoldError):
    """Bytes that are not signed by us, or cut short, or altered. Nothing of them was unpickled."""


class LedgerError(ManifoldError):
    """The ledger cannot be reached or used."""


class LedgerUnavailable(LedgerError):
    """The ledger's database was away, or took no writes, for longer than the ledger waits; the next try continues."""


class SchemaError(LedgerError):
    """The ledger's tables are missing or of another version; `manifold db migrate` makes them."""


class ScatterBusy(LedgerError):
    """Another coordinator, which is alive, owns the scatter."""


class Fenced(LedgerError):
    """Another coordinator has taken the scatter over; this one writes nothing more."""


class ScatterError(ManifoldError):
    """A scatter ended without success."""


class TooManyFailures(ScatterError):
    """More items failed than `tolerate` allows."""


class Cancelled(ScatterError):
    """Somebody ended the scatter before its last item."""


class Incomplete(Cancelled):
    """Failed items ran again, as somebody asked, and nothing else did: other items have no outcome yet."""


class Drained(Cancelled):
    """Somebody drained the scatter: what ran has ended and is committed. It is not ended, and waits to be continued."""


class Stopped(Cancelled):
    """The coordinator's process was told to end. The scatter is not ended: the next try continues."""


class ItemsChanged(ScatterError):
    """The input is not the one that was committed."""


class InputGone(ScatterError):
    """A one-shot input cannot be read again."""


class CodeChanged(ScatterError):
    """The function changed between two tries and `on_code_changed="fail"`."""


class EmptyReduce(ScatterError):
    """There is nothing to fold and no `initial`."""


class ResultsLost(ManifoldError):
    """Committed results cannot be read back; the message names the ranges and what to do."""


class ItemError(ManifoldError):
    """One item's failure, as `Results.failures()` shows it."""


class PoisonItem(ItemError):
    """The item was alone in two different processes, and both died of it."""


class ItemTimeout(ItemError):
    """The item ran longer than `item_timeout`."""


class Unpicklable(ItemError):
    """The item cannot be sent to a worker, or its result cannot be sent back."""


class SkipItem(ManifoldError):
    """Raise it in a scattered function to count the item as skipped."""


class RetryItem(ManifoldError):
    """Raise it in a scattered function to try the item again.

    `RetryItem("busy", after=30)` waits 30 seconds first, instead of `item_backoff`.
    It uses up one of `item_retries`.
    """

    after: float | None = None

    def __new__(cls, *args: object, after: float | None = None) -> RetryItem:
        self = super().__new__(cls, *args)
        self.after = after
        return self

    def __init__(self, *args: object, after: float | None = None) -> None:
        # `after` rests in __dict__, which is what pickle carries along.
        super().__init__(*args)
