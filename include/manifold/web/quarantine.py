"""The items of the quarantine, read from the store: signature checked, nothing of a user's unpickled, nothing written.

A process that shows pages must not run code that a DAG's author wrote. So an item's value is read from its pickle only
as far as it consists of plain values; anything else stands as the text that the worker made of it.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import msgspec
from cachetools import LRUCache

from manifold import config, views
from manifold.abc import Store
from manifold.errors import BlobNotFound, ManifoldError, WireError
from manifold.ledger import FailureRow, Ledger
from manifold.ledger import quarantine as rows
from manifold.protocol import codec, envelope
from manifold.protocol.records import ChunkRow, LogLine, ScatterRow
from manifold.results.blobs import Blobs
from manifold.text import storable_all
from manifold.web import deployment

_PAGE = 500
_SIDECARS = 8  # kept in memory; failed items come by position, so that few are open at a time
_PLAIN = {(one.__module__, one.__qualname__): one for one in (date, datetime, time, timedelta, timezone, Decimal)}


class Sidecars:
    """The quarantine of one scatter."""

    def __init__(self, ledger: Ledger, store: Store, row: ScatterRow) -> None:
        self._ledger = ledger
        self._store = store
        self._row = row
        self._keyring = config.keyring()
        self._kept: LRUCache[tuple[int, int, int], dict[int, codec.FailedItem]] = LRUCache(_SIDECARS)

    def item(self, failed: FailureRow) -> codec.FailedItem:
        """The item with its traceback. Raises BlobNotFound or WireError for a lost one, StoreError without a store."""
        for (layer, start, stop), items in self._kept.items():
            if layer == failed.layer and start <= failed.pos < stop and failed.pos in items:
                return items[failed.pos]
        chunk = self.chunk(failed)
        if chunk is None or chunk.fail_key is None:
            raise BlobNotFound(f"item {failed.pos:,} is being run again")
        blob = self._store.get(chunk.fail_key)
        place = {"uid": chunk.uid, "layer": chunk.layer, "start": chunk.start, "digest": chunk.fail_digest}
        _, payload = envelope.unseal(self._keyring, blob, "failed", **place)
        items = {one.failure.pos: one for one in codec.decode_failed(payload)}
        self._kept[chunk.layer, chunk.start, chunk.stop] = items
        if failed.pos not in items:
            raise BlobNotFound(f"item {failed.pos:,} is not in the quarantine of its chunk")
        return items[failed.pos]

    def lines(self, failed: FailureRow) -> list[LogLine]:
        """What the item printed and logged, where `keep_logs=True` kept it."""
        chunk = self.chunk(failed)
        if chunk is None:
            return []
        log = Blobs(self._ledger, self._store, self._keyring, self._row).log(chunk)
        return [line for line in log if line.pos == failed.pos]

    def chunk(self, failed: FailureRow) -> ChunkRow | None:
        """The chunk that says so."""
        return self._ledger.database.read(lambda conn: rows.chunk_at(conn, self._row.uid, failed.layer, failed.pos))

    def of_kind(self, failed: FailureRow) -> str:
        """The first traceback of its kind, which the ledger has."""
        return traceback_of_kind(self._ledger, failed, self._row.uid)


def traceback_of_kind(ledger: Ledger, failed: FailureRow, uid: str) -> str:
    """The traceback of the first item that failed like this one; "" where the ledger has none."""
    kind = ledger.database.read(lambda conn: rows.kind_of(conn, uid, failed.fingerprint))
    return kind.traceback if kind else ""


def export(ledger: Ledger, row: ScatterRow, fingerprint: str | None) -> Iterator[bytes]:
    """A line of JSON for each failed item, a page of them in memory. Raises at once where no store can be opened."""
    encode = json.JSONEncoder(ensure_ascii=False, default=msgspec.to_builtins).encode
    store = deployment.store_of(row)
    return _lines(ledger, row, fingerprint, store, encode)


def _lines(ledger: Ledger, row: ScatterRow, fingerprint: str | None, store: Store, encode: Any) -> Iterator[bytes]:
    with closing(store):
        sidecars = Sidecars(ledger, store, row)
        after, more = -1, True
        while more:
            ask = partial(rows.search, uid=row.uid, after=after, limit=_PAGE, fingerprint=fingerprint)
            found, more = ledger.database.read(ask)
            for one in found:
                line = _line(sidecars, one)
                yield encode(msgspec.to_builtins(line)).encode("utf-8", "backslashreplace") + b"\n"
                after = one.pos


def _line(sidecars: Sidecars, one: FailureRow) -> views.Exported:
    try:
        kept = sidecars.item(one)
        return views.exported(one, plain(kept.item), kept.traceback)
    except (BlobNotFound, WireError):  # the rest of the export is worth having all the same
        return views.exported(one, None, sidecars.of_kind(one))


def plain(pickled: bytes | None) -> Any:
    """The value, if it is made of what JSON has, dates and Decimals; None for any other."""
    if pickled is None:
        return None
    try:
        value = _Plain(io.BytesIO(pickled)).load()
        return storable_all(views.plain(value))
    except Exception:  # noqa: BLE001 - a pickle may break in any way, and much is not JSON
        return None


class _Plain(pickle.Unpickler):
    """Reads values, and calls nothing but the constructors of a few harmless classes."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _PLAIN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a plain value") from None


class Detail(NamedTuple):
    """Traceback, log lines, and a sentence on why the one or the other is not the item's own.

    `amiss`: something is wrong, beyond lines that are not kept.
    """

    traceback: str
    lines: list[LogLine]
    note: str | None = None
    amiss: bool = False


def detail(ledger: Ledger, row: ScatterRow, failed: FailureRow) -> Detail:
    """What is known of one failed item."""
    try:
        with closing(deployment.store_of(row)) as store:
            sidecars = Sidecars(ledger, store, row)
            kept = sidecars.item(failed)
            lines = sidecars.lines(failed) or kept.lines
    except ManifoldError as exc:
        note = f"This server cannot read the item's own traceback ({exc}); shown is the first of its kind."
        return Detail(traceback_of_kind(ledger, failed, row.uid), [], note, amiss=True)
    if lines or row.policy.get("keep_logs"):
        return Detail(kept.traceback, lines)
    most = row.policy.get("log_lines", 0)
    note = f"It said nothing among the first {most} lines of its chunk, which are kept (log_lines=, or keep_logs=True)."
    return Detail(kept.traceback, [], note)
