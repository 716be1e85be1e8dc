"""Receipts and blobs on the coordinator's side: complete before a commit, thrown away after a lost one."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from manifold.abc import Store
from manifold.coordinator.chunks import Chunk
from manifold.errors import BlobNotFound, ManifoldError, ResultsLost, StoreError, StoreNotShared, WireError
from manifold.protocol import codec, envelope
from manifold.protocol.blob_keys import chunk_key
from manifold.protocol.digests import item_digest
from manifold.protocol.records import Attempt, Receipt
from manifold.redaction import mask
from manifold.results.blobs import Blobs
from manifold.stores.marker import check_marker
from manifold.worker import error_report

if TYPE_CHECKING:
    from manifold.ledger import Claim, Ledger

log = logging.getLogger(__name__)


class BlobLost(ManifoldError):
    """What an execution has put into the store is not there: its chunk runs again."""


class Receipts:
    """What a coordinator does with the blobs that receipts speak of.

    Args:
        label: an item's name for people.
        new_id: names an execution that no worker did; never the same twice.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        keyring: envelope.Keyring,
        *,
        uid: str,
        key_id: str,
        store_uuid: str,
        label: Callable[[Any], str | None],
        new_id: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._keyring = keyring
        self._uid = uid
        self._key_id = key_id
        self._store_uuid = store_uuid
        self._label = label
        self._new_id = new_id
        self._hosts = {socket.gethostname()}
        self._unread: set[str] = set()

    def complete(self, receipt: Receipt, blobs: Mapping[str, bytes]) -> Receipt:
        """The receipt, fit to be committed: its blobs are in the store, its failures are all there.

        Raises:
            BlobLost: what it left is gone, or another than it says. The chunk runs again.
            StoreNotShared: its host writes to another store than this process reads.
            StoreError: the store does not work, after it was waited for.
        """
        return _masked(self._completed(receipt, blobs))

    def _completed(self, receipt: Receipt, blobs: Mapping[str, bytes]) -> Receipt:
        for key, blob in blobs.items():
            self._store.put(key, blob)
        if receipt.host not in self._hosts and not blobs and receipt.blob_key is not None:
            self._read_back(receipt, receipt.blob_key)
            self._hosts.add(receipt.host)
        if receipt.failures_cut and receipt.fail_key is not None:
            items = self._sidecar(receipt, blobs.get(receipt.fail_key))
            kinds = {one.failure.fingerprint: one.traceback for one in items}
            return msgspec.structs.replace(
                receipt, failures=[one.failure for one in items], failures_cut=False, kinds=kinds
            )
        return receipt

    def discard(self, receipt: Receipt) -> None:
        """Delete what an execution left that does not count. What cannot be deleted now, `gc` finds later."""
        for key in (receipt.blob_key, receipt.fail_key):
            if key is not None:
                try:
                    self._store.delete(key)
                except StoreError as exc:
                    log.info("%s stays for gc: %s", key, exc)

    def condemn(self, attempt: Attempt, chunk: Chunk, error: ManifoldError) -> Receipt:
        """The receipt that commits a single item as failed, which no worker can write."""
        item = chunk.items[0]
        raw: bytes | None = item if chunk.raw else envelope.dumps_if_possible(item)
        record, text = error_report.failure(
            error,
            pos=attempt.start,
            attempts=max(1, chunk.strikes),
            item="(see the quarantine)" if chunk.raw else item,
            key=None if chunk.raw else self._label(item),
            digest=None if chunk.raw else item_digest(item),
        )
        nonce = self._new_id()[:16]
        key = chunk_key(self._ledger.uuid, self._uid, attempt.start, attempt.stop, attempt.id, nonce, "f")
        header = envelope.Header(
            kind="failed",
            uid=self._uid,
            key_id=self._key_id,
            layer=attempt.layer,
            start=attempt.start,
            stop=attempt.stop,
            attempt=attempt.id,
            nonce=nonce,
        )
        blob = envelope.seal(self._keyring, header, codec.encode_failed([codec.FailedItem(record, raw, text)]))
        self._store.put(key, blob)
        return Receipt(
            uid=self._uid,
            epoch=attempt.epoch,
            layer=attempt.layer,
            attempt=attempt.id,
            nonce=nonce,
            start=attempt.start,
            stop=attempt.stop,
            n_ok=0,
            n_failed=1,
            n_skipped=0,
            worker=chunk.died_on[-1] if chunk.died_on else "unknown",
            host=socket.gethostname(),
            pid=os.getpid(),
            seconds=0.0,
            outcome="f1",
            fail_key=key,
            fail_digest=envelope.sealed_digest(blob),
            executions=1,
            failures=[record],
            kinds={record.fingerprint: text},
        )

    def see_to_suspects(self, claim: Claim) -> int:
        """Chunks whose bytes a reader missed are withdrawn where they are really gone, which is how many; the others
        are trusted again."""
        blobs, lost = Blobs(self._ledger, self._store, self._keyring, claim.row), 0
        for suspect in self._ledger.suspects(self._uid):
            try:
                blobs.check(suspect)
            except ResultsLost:
                claim.withdraw(suspect)
                lost += 1
            else:
                claim.trust(suspect)
        return lost

    def _sidecar(self, receipt: Receipt, blob: bytes | None) -> list[codec.FailedItem]:
        """The failed items of a receipt that does not carry them all."""
        assert receipt.fail_key is not None
        try:
            blob = blob or self._store.get(receipt.fail_key)
            _, payload = envelope.unseal(self._keyring, blob, "failed", uid=self._uid, digest=receipt.fail_digest)
            return codec.decode_failed(payload)
        except (BlobNotFound, WireError) as exc:
            check_marker(self._store, self._store_uuid)
            raise BlobLost(f"the list of its failed items is lost: {exc}") from exc

    def _read_back(self, receipt: Receipt, key: str) -> None:
        """The first blob of a host shows whether it writes where this process reads. One that is gone may have been
        lost; the second one was not."""
        try:
            blob = self._store.get(key)
        except BlobNotFound as exc:
            if receipt.host not in self._unread:
                self._unread.add(receipt.host)
                raise BlobLost(f"its results are not where worker {receipt.worker} has put them: {exc}") from exc
            raise StoreNotShared(
                f"worker {receipt.worker} has put its results where this process cannot read them. Coordinators and "
                "workers need one store: a bucket, a database, or a folder that all hosts mount"
            ) from None
        try:
            envelope.unseal(self._keyring, blob, "result", uid=self._uid, digest=receipt.blob_digest)
        except WireError as exc:
            raise StoreNotShared(f"what worker {receipt.worker} put reads back differently: {exc}") from exc


def _masked(receipt: Receipt) -> Receipt:
    """The receipt without secrets that this process knows of, and the worker did not."""
    if not (receipt.failures or receipt.kinds or receipt.lines):
        return receipt
    change = msgspec.structs.replace
    failures = [
        change(
            one,
            message=mask(one.message),
            key=None if one.key is None else mask(one.key),
            item_repr=None if one.item_repr is None else mask(one.item_repr),
        )
        for one in receipt.failures
    ]
    kinds = {fingerprint: mask(text) for fingerprint, text in receipt.kinds.items()}
    lines = [change(line, text=mask(line.text)) for line in receipt.lines]
    return change(receipt, failures=failures, kinds=kinds, lines=lines)
