"""The stores by URL scheme. A new one is a file beside this one, a row here, and a row in the contract tests.

A scheme that is not listed goes to fsspec, which knows s3://, gs://, abfs:// and many more.
"""

from __future__ import annotations

from typing import Any

from manifold import settings
from manifold.abc import Store
from manifold.patience import PATIENCE
from manifold.registry import Entry, Registry, scheme_of
from manifold.stores.patient import PatientStore

STORES = Registry(
    "store",
    {
        "file": Entry("manifold.stores.file:FileStore", "file:///var/lib/manifold"),
        "fsspec": Entry("manifold.stores.fsspec:FsspecStore", "fsspec+s3://bucket/folder"),
        "memory": Entry("manifold.stores.memory:MemoryStore", "memory://"),
        "sql": Entry("manifold.stores.sql:SqlStore", "sql+postgresql://user:password@host/database"),
    },
)


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
    where = settings.resolve(url or settings.store_url())
    store: Store = _adapter(where).from_url(where, **options)
    return store


def store_behind(url: str, *, patience: float = PATIENCE) -> Store:
    """The store that a scatter's ledger row names, which is waited for `patience` seconds while it does not answer.

    The ledger keeps no password. A store that needs one must be this process's own, which its marker shows.
    """
    return PatientStore(open_store(None if "***" in url else url or None), patience=patience)


def check_store_url(url: str) -> None:
    """Raise ConfigError if no adapter reads that URL; nothing is opened."""
    scheme = scheme_of(url)
    if scheme not in STORES.entries and not _known_to_fsspec(scheme):
        STORES.check(url)


def is_store(url: str) -> bool:
    """Some adapter reads that URL."""
    scheme = scheme_of(url)
    return scheme in STORES.entries or _known_to_fsspec(scheme)


def _adapter(url: str) -> type[Any]:
    scheme = scheme_of(url)
    if scheme not in STORES.entries and _known_to_fsspec(scheme):
        return STORES.adapter("fsspec+" + url)
    return STORES.adapter(url)


def _known_to_fsspec(scheme: str) -> bool:
    import fsspec  # costs 30 ms, and most stores do without

    return scheme in fsspec.available_protocols()
