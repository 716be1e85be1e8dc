"""The stores, a file each. A new one is a file beside this one, a row in `manifold.registry`, and its contract row.

A scheme that has no row goes to fsspec, which knows s3://, gs://, abfs:// and many more.
"""

from __future__ import annotations

from typing import Any

from manifold import config
from manifold.abc import Store
from manifold.patience import PATIENCE
from manifold.redaction import masked
from manifold.registry import STORES
from manifold.stores.patient import PatientStore


def open_store(url: str | None = None, **options: Any) -> Store:
    """The store behind `url`; None opens the deployment's (`MANIFOLD_STORE`).

    Args:
        url: such as `file:///var/lib/manifold`, `s3://bucket/folder` or `sql+postgresql://user:password@host/database`,
            or the id of an Airflow connection.
        options: what the adapter takes; fsspec's file systems take their own.

    Raises:
        ConfigError: no adapter reads that URL. MissingExtra, one of them, names the package to install.
        StoreError: nothing answers there.
    """
    where = config.resolve(url or config.store_url())
    store: Store = STORES.open(where, **options)
    if isinstance(store, Store) and not store.url:
        store.url = masked(where)
    return store


def store_behind(url: str, *, patience: float = PATIENCE) -> Store:
    """The store that a scatter's ledger row names, which is waited for `patience` seconds while it does not answer.

    The ledger keeps no password. A store that needs one must be this process's own, which its marker shows.
    """
    return PatientStore(open_store(None if "***" in url else url or None), patience=patience)
