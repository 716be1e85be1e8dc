"""A store as the core uses it: it is waited for while it does not answer, and takes blobs of any size.

A blob that is larger than a value of the store may be rests in pieces: its beginning under its own key, the rest under
`piece_key`s. Its header says how long it is, so a reader knows what belongs to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, TypeVar

from tenacity import RetryCallState

from manifold import descriptors
from manifold.abc import Store
from manifold.errors import BlobNotFound, StoreError, StoreNotShared
from manifold.patience import PATIENCE, persist
from manifold.protocol import envelope
from manifold.protocol.blob_keys import piece_key

log = logging.getLogger(__name__)

T = TypeVar("T")

_BRIEFLY = 5.0  # seconds, for descriptors of this process that something else here may be about to close
_LASTING = (PermissionError, NotADirectoryError, IsADirectoryError)


class PatientStore(Store):
    """Another store, waited for.

    * A StoreError is tried again for `patience` seconds; but not BlobNotFound, StoreNotShared, or a lack of rights.
    * Where this process has no file descriptor left, that is waited for 5 s at the most; the error then says what holds
      them, and is `exhausted`.
    * `delete` is not waited for: what it leaves, `gc` collects.
    * Safe from several threads if the other store is.

    Args:
        store: the other one; a patient one is taken apart first.
        sleep: lets time pass.
        on_wait: is told, once per try, that the store does not answer; what it raises ends the waiting.
    """

    def __init__(
        self,
        store: Store,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.store: Store = store.store if isinstance(store, PatientStore) else store
        self._sleep = sleep
        self.patience = patience
        self.on_wait = on_wait
        self.max_bytes = self.store.max_bytes  # type: ignore[misc]  # of one piece
        self.durable = self.store.durable
        self.reach = self.store.reach

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The patient form of the store behind `url`."""
        from manifold.stores import open_store

        return cls(open_store(url, **options))

    def put(self, key: str, value: bytes) -> None:
        most = self.max_bytes or len(value) or 1
        for number, at in enumerate(range(most, len(value), most), 1):
            self._again(self.store.put, piece_key(key, number), value[at : at + most])
        self._again(self.store.put, key, value[:most] if len(value) > most else value)

    def get(self, key: str) -> bytes:
        data = self._again(self.store.get, key)
        size = envelope.sealed_size(data)
        if len(data) >= size:
            return data
        pieces, held = [data], len(data)
        while held < size:
            try:
                piece = self._again(self.store.get, piece_key(key, len(pieces)))
            except BlobNotFound:
                break  # it is cut short, as its digest shows
            pieces.append(piece)
            held += max(1, len(piece))
        return b"".join(pieces)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter(self._again(lambda: list(self.store.keys(prefix))))

    def close(self) -> None:
        self.store.close()

    @contextmanager
    def briefly(self) -> Iterator[None]:
        """Try each operation once within this block, and wait for nothing."""
        patience, self.patience = self.patience, 0.0
        try:
            yield
        finally:
            self.patience = patience

    def _again(self, work: Callable[..., T], *args: Any) -> T:
        try:
            return work(*args)  # nearly always
        except StoreError as exc:
            if not may_pass(exc) or not self.patience:
                raise
        short = descriptors.shortage()
        patience = self.patience if short is None or short.of_host else min(self.patience, _BRIEFLY)
        again = partial(work, *args)
        try:
            return persist(again, may_pass, patience=patience, sleep=self._sleep, before_sleep=self._tell)
        except StoreError as exc:
            if not may_pass(exc) or (short := descriptors.shortage()) is None:
                raise
            error = StoreError(f"{exc}: {short.text}")
            error.exhausted = True
            raise error from exc

    def _tell(self, state: RetryCallState) -> None:
        exc = state.outcome.exception() if state.outcome else None
        text = f"waiting for {'a free file descriptor' if descriptors.lacking(exc) else 'the store'}: {exc or ''}"
        if self.on_wait is not None:
            self.on_wait(text)
        else:
            log.warning("%s", text)


def in_one_piece(store: Store) -> Store:
    """Return what reads blobs whole from `store`; how long that is waited for stays as it is."""
    return store if isinstance(store, PatientStore) else PatientStore(store, patience=0.0)


def may_pass(exc: BaseException) -> bool:
    """True for a fault of a store that may be gone at the next try."""
    if not isinstance(exc, StoreError) or isinstance(exc, (BlobNotFound, StoreNotShared)):
        return False
    return not isinstance(exc.__cause__, _LASTING)
