"""s3://BUCKET/FOLDER, gs://…, abfs://…, or fsspec+SCHEME://… — any file system that fsspec knows and can write to.

Install what the scheme needs: `pip install s3fs`, `gcsfs`, `adlfs`, …. Credentials and endpoints come from where that
package looks for them (its environment variables, fsspec's configuration files), so none need stand in the URL.
Give the prefix no life cycle rule shorter than the retention of your scatters.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

import fsspec

from manifold.abc import Store
from manifold.errors import ConfigError, MissingExtra
from manifold.redaction import masked

# Where one upload appears whole or not at all. Elsewhere a blob is written under another name and renamed.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "tos", "memory"}
_LOCAL = {"file", "local"}
_NOT_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class FsspecStore(Store):
    """Results as objects below `root` of a file system of fsspec's."""

    errors = (Exception,)  # each client has its own, with no common root

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

    def _put(self, key: str, value: bytes) -> None:
        if self._whole:
            self.fs.pipe_file(self._path(key), value)
        else:
            self._put_by_rename(self._path(key), value)

    def _get(self, key: str) -> bytes | None:
        with suppress(*_NOT_THERE):
            return bytes(self.fs.cat_file(self._path(key)))
        return None

    def _delete(self, key: str) -> None:
        with suppress(*_NOT_THERE):
            self.fs.rm_file(self._path(key))

    def _keys(self, prefix: str) -> Iterator[str]:
        self.fs.invalidate_cache()  # other processes write here, too
        with suppress(*_NOT_THERE):
            for path in self.fs.find(self._path(prefix.rpartition("/")[0])):
                yield path[len(self.root) :].lstrip("/")

    def _explained(self, exc: Exception) -> str:
        if isinstance(exc, NotImplementedError):
            raise ConfigError(f"{self._place}: this file system cannot do that, so it cannot be a store") from exc
        return super()._explained(exc)

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
        return f"{self.root}/{key}".rstrip("/")
