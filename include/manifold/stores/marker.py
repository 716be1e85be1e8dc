"""Which store this is: an object in it whose name is its identity.

A scatter's ledger row keeps that name (`store_uuid`). Before anybody believes that a blob is gone, the marker must be
there: a `file://` folder of another host, a bucket of the same name elsewhere, or an unmounted disk lack it.
"""

from __future__ import annotations

from uuid import uuid4

from manifold.abc import Store
from manifold.errors import BlobNotFound, StoreNotShared
from manifold.protocol.blob_keys import MARKERS, marked, marker_key


def mark(store: Store, ledger_uuid: str) -> str:
    """The store's uuid; the marker is made where there is none. `ledger_uuid` is kept in it, for people.

    Two that mark an empty store at once may leave two markers. Both are true for ever: each proves this store.
    """
    found = sorted(store.keys(MARKERS))
    if found:
        return marked(found[0])
    store_uuid = uuid4().hex
    store.put(marker_key(store_uuid), f"made for ledger {ledger_uuid}\n".encode())
    return store_uuid


def check_marker(store: Store, store_uuid: str) -> None:
    """Return if `store` is the one marked `store_uuid`; raises StoreNotShared if not, StoreError if it cannot tell."""
    try:
        store.get(marker_key(store_uuid))
    except BlobNotFound as exc:
        raise StoreNotShared(
            f"this is not the store that the scatter wrote to: {exc}. With a file:// store, run on the host that has "
            "the folder, or mount it on every host; else check that MANIFOLD_STORE is the same everywhere. "
            "Nothing was marked as lost"
        ) from exc
