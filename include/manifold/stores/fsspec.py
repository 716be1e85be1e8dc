"""s3://BUCKET/FOLDER, gs://…, abfs://…, or fsspec+SCHEME://… — any file system that fsspec knows and can write to.

Install what the scheme needs: `pip install s3fs`, `gcsfs`, `adlfs`, …. Credentials and endpoints come from where that
package looks for them (its environment variables, fsspec's configuration files), so none need stand in the URL.
Give the prefix no life cycle rule shorter than the retention of your scatters.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self
from urllib.parse import urlsplit

import fsspec

from manifold.abc import Store
from manifold.errors import BlobNotFound, ConfigError, MissingExtra, StoreError
from manifold.registry import masked
from manifold.stores.keys import checked, checked_prefix

# Where one upload appears whole or not at all. Elsewhere a blob is written under another name and renamed.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "tos", "memory"}
_LOCAL = {"file", "local"}


@contextmanager
def _translated(doing: str, absent: type[StoreError] = BlobNotFound) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
        raise absent(f"{doing}: not there") from exc
    except NotImplementedError as exc:
        raise ConfigError(f"{doing}: this file system cannot do that, so it cannot be a store") from exc
    except Exception as exc:
        # Each client has errors of its own, with no common root.
        raise StoreError(f"{doing}: {type(exc).__name__}: {exc}") from exc


class FsspecStore(Store):
    """Results as objects below `root` of a file system of fsspec's."""

    def __init__(self, fs: Any, root: str) -> None:
        self.fs = fs
        self.root = root.rstrip("/")
        names = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        self._whole = not names.isdisjoint(_WHOLE)
        if "memory" in names:
            self.durable, self.reach = False, "process"

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The store behind a URL of fsspec's; `options` go to the file system."""
        plain = url.removeprefix("fsspec+")
        scheme = urlsplit(plain).scheme
        if scheme in _LOCAL:
            raise ConfigError(f"{masked(url)!r}: write file:///…, which syncs what it writes; fsspec does not")
        try:
            fs, root = fsspec.core.url_to_fs(plain, **options)
        except ImportError as exc:
            missing = getattr(exc.__cause__, "name", None) or getattr(exc, "name", None) or "its client"
            raise MissingExtra(f"{scheme}:// needs a package that is not here: pip install {missing} ({exc})") from exc
        except ValueError as exc:
            raise ConfigError(f"{masked(url)!r}: {exc}") from exc
        return cls(fs, root)

    def put(self, key: str, value: bytes) -> None:
        path = self._path(key)
        with _translated(f"could not write {path} ({len(value):,} bytes)", StoreError):
            if self._whole:
                self.fs.pipe_file(path, value)
            else:
                self._put_by_rename(path, value)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with _translated(f"could not read {path}"):
            return bytes(self.fs.cat_file(path))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(BlobNotFound), _translated(f"could not delete {path}"):
            self.fs.rm_file(path)

    def keys(self, prefix: str = "") -> Iterator[str]:
        folder = f"{self.root}/{checked_prefix(prefix).rpartition('/')[0]}".rstrip("/")
        found: list[str] = []
        with suppress(BlobNotFound), _translated(f"could not list {folder}"):
            self.fs.invalidate_cache()  # other processes write here, too
            found = self.fs.find(folder)
        for path in found:
            key = path[len(self.root) :].lstrip("/")
            if key.startswith(prefix) and "/." not in f"/{key}":
                yield key

    def _put_by_rename(self, path: str, value: bytes) -> None:
        folder, _, name = path.rpartition("/")
        fresh = f"{folder}/.{name[:40]}.{secrets.token_hex(8)}"
        self.fs.makedirs(folder, exist_ok=True)
        try:
            self.fs.pipe_file(fresh, value)
            self.fs.mv(fresh, path)
        except BaseException:
            with suppress(Exception):
                self.fs.rm_file(fresh)
            raise

    def _path(self, key: str) -> str:
        return f"{self.root}/{checked(key)}"
