"""Committed blobs, read back and checked: signature, place, digest and count. Nothing is unpickled before.

A blob is lost only if the store is surely the right one and the blob was missing or bad twice. Then the ledger is told,
so that the next try makes it again, and the reader gets ResultsLost. A store that cannot be reached is a StoreError.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from manifold.abc import Store
from manifold.errors import BlobNotFound, ResultsLost, Unpicklable, WireError
from manifold.protocol import codec, envelope, proof, shipment
from manifold.protocol.blob_keys import function_digest, log_key
from manifold.protocol.job import Job
from manifold.protocol.records import ChunkRow, LogLine, ScatterRow
from manifold.stores.marker import check_marker
from manifold.stores.patient import in_one_piece

if TYPE_CHECKING:
    from manifold.ledger import Ledger

T = TypeVar("T")


class Blobs:
    """What the workers of one scatter left in its store.

    Every method raises ResultsLost for a blob that is gone or bad, StoreNotShared where this is another store,
    StoreError where the store does not answer, and WireError where this process lacks the scatter's secret.
    """

    def __init__(self, ledger: Ledger, store: Store, keyring: envelope.Keyring, scatter: ScatterRow) -> None:
        self._ledger = ledger
        self._store = in_one_piece(store)
        self._keyring = keyring
        self._scatter = scatter
        keyring.key(scatter.key_id, scatter.uid)  # raises WireError where it is missing, before any blob is blamed

    def values(self, row: ChunkRow) -> list[Any]:
        """The results of the row's items that succeeded, in order."""
        if row.blob_key is None:
            return []
        values = self._decoded(row, row.blob_key, codec.decode_values)
        if len(values) != row.n_ok:
            raise self._lost(row, f"the blob holds {len(values):,} results, and the ledger counts {row.n_ok:,}")
        return values

    def segments(self, row: ChunkRow) -> list[codec.Segment]:
        """The partial folds of the row's items, in order."""
        if row.blob_key is None:
            return []
        segments = self._decoded(row, row.blob_key, codec.decode_segments)
        edges = [row.start, *(edge for one in segments for edge in (one.start, one.stop)), row.stop]
        if not segments or edges != sorted(edges):
            raise self._lost(row, "the blob holds other segments than the ledger's")
        return segments

    def failed(self, row: ChunkRow) -> list[codec.FailedItem]:
        """The quarantine of the row: its failed items, in order."""
        if row.fail_key is None:
            return []
        failed = codec.decode_failed(self._payload(row, row.fail_key, row.fail_digest, "failed"))
        if len(failed) != row.n_failed:
            raise self._lost(row, f"the quarantine holds {len(failed):,} items, and the ledger counts {row.n_failed:,}")
        return failed

    def check(self, row: ChunkRow) -> None:
        """Return if all that the row names is there and whole."""
        with suppress(Unpicklable):  # the bytes are the right ones; this process lacks what they need
            _ = self.values(row) if self._scatter.reduce_digest is None else self.segments(row)
        _ = self.failed(row)

    def log(self, row: ChunkRow) -> list[LogLine]:
        """What the row's items printed, where it was kept; the results do not depend on it, so a lost one is empty."""
        key = row.blob_key or row.fail_key
        if key is None:
            return []
        log, nonce = log_key(key)
        try:
            # A redelivered attempt ran more than once: the nonce tells the execution that the row counts.
            place = {"uid": row.uid, "attempt": row.attempt, "nonce": nonce}
            _, payload = envelope.unseal(self._keyring, self._store.get(log), "log", **place)
        except BlobNotFound:
            return []
        return msgspec.msgpack.decode(payload, type=list[LogLine])

    def job(self) -> Job:
        """What the scatter ran; its classes are those of this process, where it has them."""
        return shipment.unpack(self.shipment())

    def shipment(self) -> bytes:
        """What the scatter ran, with the modules that came with it, as `worker.modules` takes it."""
        key = self._scatter.fn_key
        if key is None:
            raise ResultsLost(f"the ledger does not say where the function of {self._scatter.title} is kept")
        try:
            blob = self._store.get(key)
        except BlobNotFound as exc:
            check_marker(self._store, self._scatter.store_uuid)
            raise ResultsLost(
                f"the function of scatter {self._scatter.title} is not in its store any more, only its results are: "
                "name the fold, as in .value(reduce=…)"
            ) from exc
        try:
            header, payload = envelope.unseal(self._keyring, blob, "function", uid=self._scatter.uid)
        except WireError as exc:
            if not envelope.is_ours(self._keyring, blob):
                raise  # perhaps it is this process that has another secret
            raise self._not_the_function(str(exc)) from exc
        if not header.digest.startswith(function_digest(key)):
            raise self._not_the_function("it is signed, but it is the function of another try")
        return payload

    def _not_the_function(self, why: str) -> ResultsLost:
        return ResultsLost(
            f"what lies under {self._scatter.fn_key} is not the function that scatter {self._scatter.title} ran: "
            f"{why}. "
            "Its results are not touched by that: name the fold, as in .value(reduce=…); to run items again, give the "
            "function (manifold redrive --function MODULE:NAME), or run the program again that made it"
        )

    def _payload(self, row: ChunkRow, key: str, digest: str | None, kind: envelope.Kind) -> bytes:
        # The seal's stop is that of the attempt, of which the row may cover a prefix.
        place = {"uid": row.uid, "layer": row.layer, "start": row.start, "attempt": row.attempt, "digest": digest}
        trouble: BlobNotFound | WireError | None = None
        data = b""
        for _ in range(2):
            try:
                data = self._store.get(key)
                return envelope.unseal(self._keyring, data, kind, **place)[1]
            except (BlobNotFound, WireError) as exc:
                trouble = exc
        check_marker(self._store, self._scatter.store_uuid)
        if isinstance(trouble, WireError) and not (envelope.is_ours(self._keyring, data) or self._secret_is_right()):
            raise WireError(
                f"the blobs of scatter {self._scatter.title} do not bear this process's signature ({trouble}). "
                "MANIFOLD_SECRET must be the same wherever results are made and read; nothing was marked as lost"
            ) from trouble
        raise self._lost(row, str(trouble)) from trouble

    def _decoded(self, row: ChunkRow, key: str, decode: Callable[[bytes], list[T]]) -> list[T]:
        payload = self._payload(row, key, row.blob_digest, "result")
        try:
            return decode(payload)
        except WireError:
            raise
        except proof.BROKEN as exc:
            raise Unpicklable(
                f"the results of items {row.start:,} to {row.stop - 1:,} of scatter {self._scatter.title} are there, "
                f"but cannot be unpickled here: {type(exc).__name__}: {exc}. The worker that made them could: "
                "install here what is there. `manifold verify --deep` names the items"
            ) from exc

    def _lost(self, row: ChunkRow, why: str) -> ResultsLost:
        """Tell the ledger; the error for the reader."""
        told = (
            f"the results of items {row.start:,} to {row.stop - 1:,} of scatter {self._scatter.title} are lost: {why}. "
        )
        if self._ledger.suspect(row):
            uid = self._scatter.uid
            return ResultsLost(
                f"{told}The ledger knows it now: clear the scatter task, or run `manifold redrive --lost {uid}`, and "
                "they are made again"
            )
        return ResultsLost(f"{told}Meanwhile they were made again: take .latest()")

    def _secret_is_right(self) -> bool:
        # The function was signed with the same secret. If that reads well, then it is the blob that is bad.
        key = self._scatter.fn_key
        try:
            if key is not None:
                envelope.unseal(self._keyring, self._store.get(key), "function", uid=self._scatter.uid)
                return True
        except (BlobNotFound, WireError):
            pass
        return False
