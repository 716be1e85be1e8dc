"""Where the bytes of results rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from manifold.errors import BlobNotFound, ManifoldError, StoreError
from manifold.protocol.blob_keys import checked, checked_prefix
from manifold.redaction import mask, masked, masked_in
from manifold.text import shortened

_TEXT = 500
"""Characters of a library's own words in a StoreError, at most."""


class Store(ABC):
    """Where the bytes of results rest: a template, of which an adapter writes `from_url` and four methods.

    For those who use a store:

    * Keys are made by the core (`manifold.protocol.blob_keys`): `[0-9A-Za-z._/-]`, at most 200 characters, no part
      between slashes empty or with a leading dot, no key a folder of another; never written twice with another value.
      Others are a ConfigError.
    * `put` returns only when the value will survive (fsync of file and folder, a committed transaction).
    * `get` returns exactly what was put, or raises BlobNotFound. Anything else that goes wrong is a StoreError, whose
      text has the key and the URL, without its secrets.
    * `delete` of a key that is not there is not an error.
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
        """Remove the key; one that is not there is not an error."""
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
