"""The contracts: what an adapter must do, as rules that the contract tests hold it to.

One loop (`manifold.coordinator.loop`) is the only code that knows them all.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar, Self

from manifold.errors import BlobNotFound, ManifoldError, StoreError
from manifold.events import Event
from manifold.protocol.blob_keys import checked, checked_prefix
from manifold.protocol.records import WorkerInfo
from manifold.redaction import mask, masked, masked_in
from manifold.text import shortened

_TEXT = 500
"""Characters of a library's own words in a StoreError, at most."""


class Engine(Executor):
    """Where chunks run: the standard library's `Executor`, made from a URL.

    * `submit(fn, /, *args, **kwargs)` never eats a keyword of the caller's, returns at once, and calls `fn` anew each
      time. `fn` may be any callable that cloudpickle can carry.
    * An exception of `fn` arrives as it was raised. A result or exception that cannot travel fails that future alone.
    * A worker that dies fails only the futures it held, with `WorkerLost`, soon; the rest go on, as does the engine.
      `WorkerLost.started`, `died`, `position` and `worker` say what is known.
    * `shutdown(wait, cancel_futures)` is the standard library's; afterwards nothing that the engine started runs, but
      for calls that it was told to leave.
      `submit` after it raises RuntimeError. It may be called twice.
    * Made by a coordinator, used from its thread; futures may complete in any thread.

    Class attributes, read by the core and by the contract tests:
    """

    in_process: ClassVar[bool] = False
    """Chunks run as threads of this process: no worker can be killed, and C code cannot be stopped."""
    kills_items: ClassVar[bool] = False
    """`item_timeout` holds even where the item never returns to the interpreter."""
    same_host: ClassVar[bool] = True
    """Workers share this host's file system (so a `file://` store reaches them)."""
    reattaches: ClassVar[bool] = False
    """Calls outlive the process that submitted them, and the next coordinator can wait for them by `attach`. Where
    workers end with their coordinator there is nothing to wait for, and neither method is needed."""
    connected: bool = True
    """What stands between this process and its workers (a broker) answers, as far as is known."""
    refused: int = 0
    """Messages that reached this process and were thrown away, because nobody of this deployment had signed them."""
    refused_by_workers: int = 0
    """The same of its workers, as far as they have told this process."""

    @classmethod
    @abstractmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The engine behind `url`; raises ConfigError for a URL it cannot read, EngineError where nothing answers."""

    @abstractmethod
    def slots(self) -> int:
        """Chunks it can run at this moment; 0 while no worker is there. Cheap: called several times a second."""

    @abstractmethod
    def workers(self) -> list[WorkerInfo]:
        """The workers it knows of, dead ones too for a while. Cheap."""

    def check(self) -> str | None:
        """A sentence on what would keep chunks from running (no worker serves the queue, …), or None. May take 5 s."""
        return None

    def broken(self) -> str | None:
        """Why it will never run anything again, as a clause; None while it works or may come back. Cheap."""
        return None

    def attach(self, scatter: str, epoch: int, calls: Mapping[str, int]) -> dict[str, Future[Any]]:
        """Return the futures of calls that coordinators before this one had submitted, and that are not over.

        * Called once, before the first `submit_as`, where the engine `reattaches`. `calls` has the epoch of each call
          that may be there, by its name.
        * Returned are those that a worker holds and those whose answer waits; their futures then end as any other. One
          that nobody has begun is dropped as well as the engine can: the caller sends its work again.
        * May take 10 s if there are `calls`; never raises because a worker does not answer.
        * Where the engine has calls of another scatter in flight, it may return none.
        """
        return {}

    def submit_as(self, call: str, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Submit under a name by which a later `attach` asks for the call; it was never given before."""
        return self.submit(fn, *args)

    def stop_listening(self) -> None:
        """Take nothing more from the workers, before calls are left: what they answer from now on waits for whoever
        attaches next. What has come until then has ended its futures."""

    def leave(self, future: Future[Any]) -> None:
        """Wait for the call no longer, and let it run on, for whoever attaches next; the future is then over."""
        self.kill(future)

    def exclude(self, node: str, seconds: float, why: str) -> bool:
        """Give the worker of that `WorkerInfo.node` no calls for a while; what it holds goes on. Return False where the
        engine cannot, or no other worker would be left."""
        return False

    def kill(self, future: Future[Any]) -> None:
        """Stop what `future` runs, if the engine can; the future then fails with WorkerLost. Best effort."""
        future.cancel()


class Store(ABC):
    """Where the bytes of results rest: a template, of which an adapter writes `from_url` and four methods.

    For those who use a store:

    * Keys are made by the core (`manifold.protocol.blob_keys`): `[0-9A-Za-z._/-]`, at most 200 characters, no part
      between slashes empty or with a leading dot, no key a folder of another; never written twice with another value.
      Others are a ConfigError.
    * `put` returns only when the value will survive (fsync of file and folder, a committed transaction).
    * `get` returns exactly what was put, or raises BlobNotFound. Anything else that goes wrong is a StoreError, whose
      text has the key and the URL, without its secrets.
    * `delete` of a key that is not there is no error.
    * `keys` yields every key that begins with the prefix, in any order.
    * Safe to use from several threads and, opened anew, from several processes.

    For those who write one: `_put`, `_get`, `_delete` and `_keys` see checked keys and values of at most `max_bytes`,
    and let what `errors` names pass. A store can also override `put`, `get`, `delete` or `keys` as a whole; all of the
    above is then its own work.
    """

    max_bytes: ClassVar[int | None] = None
    """The largest value, in bytes; None: as large as memory."""
    durable: bool = True
    """What was put survives the end of the process that put it."""
    reach: str = "hosts"
    """Who sees the same bytes: "process", "host" or "hosts". By instance where it hangs on the URL."""
    errors: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    """What the library raises where the store cannot be reached or used; it becomes a StoreError."""
    url: str = ""
    """Where it is, for messages; `open_store` fills it in where the adapter does not."""

    def __new__(cls, *_args: Any, **_options: Any) -> Self:
        """Refuse a store that lacks an operation: it has neither `_put` nor a `put` of its own."""
        names = [name for name in ("put", "get", "delete", "keys") if getattr(cls, name) is getattr(Store, name)]
        if lacking := [f"_{name}" for name in names if getattr(cls, f"_{name}") is getattr(Store, f"_{name}")]:
            raise TypeError(f"the store {cls.__name__} has no {' and no '.join(lacking)}")
        return super().__new__(cls)

    @classmethod
    @abstractmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The store behind `url`; raises ConfigError for a URL it cannot read, StoreError where nothing answers."""

    def put(self, key: str, value: bytes) -> None:
        if self.max_bytes is not None and len(value) > self.max_bytes:
            raise StoreError(
                f"{len(value):,} bytes are more than a value of {self._place} may have ({self.max_bytes:,}), "
                f"for {checked(key)}: choose a smaller chunk_bytes or chunk_size, or a file or object store"
            )
        with self._translated(f"could not write {checked(key)} ({len(value):,} bytes) to"):
            self._put(key, value)

    def get(self, key: str) -> bytes:
        with self._translated(f"could not read {checked(key)} from"):
            value = self._get(key)
        if value is None:
            raise BlobNotFound(f"{self._place} has no {key}")
        return bytes(value)

    def delete(self, key: str) -> None:
        with self._translated(f"could not delete {checked(key)} from"):
            self._delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        with self._translated(f"could not list {checked_prefix(prefix)}… of"):
            for key in self._keys(prefix):
                if key.startswith(prefix) and "/." not in f"/{key}":
                    yield key

    def _put(self, key: str, value: bytes) -> None:
        """Keep `value`; return when it will survive. A key that is there already has the same value."""
        return

    def _get(self, key: str) -> bytes | None:
        """Return the value, in any form that `bytes` takes; None where there is no such key."""
        return None

    def _delete(self, key: str) -> None:
        """Remove the key; one that is not there is no error."""
        return

    def _keys(self, prefix: str) -> Iterable[str]:
        """Return or yield every key that begins with `prefix`; what else it gives is left out."""
        return ()

    def _explained(self, exc: Exception) -> str:
        """Return what one of `errors` means, and what to do, as a clause, where the library's text does not say it.

        Raises:
            ConfigError: this place cannot be a store, so waiting is of no use.
        """
        text = shortened(mask(masked_in(str(exc).strip())), _TEXT)
        return f"{type(exc).__name__}: {text} (`manifold doctor` tries the store)"

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turn what `errors` names into a StoreError that says what was being done at which URL."""
        try:
            yield
        except ManifoldError:
            raise
        except self.errors as exc:
            raise StoreError(f"{doing} {self._place}: {self._explained(exc)}") from exc

    @property
    def _place(self) -> str:
        return masked(self.url) or type(self).__name__

    def close(self) -> None:
        """Give up connections; the store is not used afterwards."""
        return


class Monitor(ABC):
    """Is told what happens. Called in the coordinator's thread, so it must be quick; what it raises is logged once."""

    warns: ClassVar[bool] = False
    """Puts warnings where people find them afterwards; without such a monitor plain Python logs them."""

    @abstractmethod
    def emit(self, event: Event) -> None: ...

    def close(self) -> None:
        return


class Clock(ABC):
    """Time and waiting, handed to the coordinator so that a simulation can own both."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds; only differences mean something."""

    @abstractmethod
    def wait(self, signal: threading.Event, timeout: float) -> None:
        """Return when `signal` is set, or after `timeout` seconds."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        self.wait(threading.Event(), seconds)


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
