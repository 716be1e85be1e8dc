"""file:///ABSOLUTE/FOLDER — one file per blob, below a folder of this host.

A folder that every worker's host mounts (NFS, EFS, a ReadWriteMany volume) is `file:///mnt/shared?shared=true`.
No limit but the disk. Needs a file system whose rename within a folder is atomic, as POSIX asks. A folder that `delete`
has emptied stays, because another process may just be writing into it.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from manifold.abc import Store
from manifold.errors import ConfigError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_CUT_OFF = 86_400.0  # seconds after which a file that is still on its way into place has been abandoned


class FileStore(Store):
    """Results as files. A blob is written under a name with a leading dot, synced, and renamed: never seen in part."""

    reach = "host"

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        if not root.is_absolute():
            raise ConfigError(f"{str(root)!r} is a relative path, which each process would read in its own way")
        self.root = root
        self.url = root.as_uri()
        self.reach = "hosts" if shared else "host"
        self._settled: set[Path] = set()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The store behind `file:///FOLDER[?shared=true]`. The folder is made by the first `put`."""
        parts = urlsplit(url)
        query = {**dict(parse_qsl(parts.query)), **options}
        shared = str(query.pop("shared", "false")).lower()
        if parts.netloc not in {"", "localhost"} or len(parts.path) < 2:
            raise ConfigError(f"{url!r} names no absolute folder; write three slashes: file:///var/lib/manifold")
        if query or shared not in {"true", "false"}:
            raise ConfigError(f"{url!r}: the only option is shared=true, for a folder that all hosts mount")
        return cls(Path(unquote(parts.path)), shared=shared == "true")

    def _put(self, key: str, value: bytes) -> None:
        path = self.root / key
        fresh = path.with_name(f".{secrets.token_hex(8)}")
        try:
            with _open_new(fresh) as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
        self._settle(path.parent)

    def _get(self, key: str) -> bytes | None:
        with suppress(*_NOT_THERE):
            return (self.root / key).read_bytes()
        return None

    def _delete(self, key: str) -> None:
        with suppress(*_NOT_THERE):
            (self.root / key).unlink()

    def _keys(self, prefix: str) -> Iterator[str]:
        return self._walk(prefix.rpartition("/")[0], prefix)

    def _explained(self, exc: Exception) -> str:
        if isinstance(exc, OSError) and exc.errno in _FULL:
            return "the disk is full: free some space there, or point the store elsewhere"
        return super()._explained(exc)

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(self.root / folder))
        except _NOT_THERE:
            return
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                _sweep(entry)
            elif not entry.is_dir(follow_symlinks=False):
                yield key
            elif key.startswith(prefix) or prefix.startswith(f"{key}/"):
                yield from self._walk(key, prefix)

    def _settle(self, folder: Path) -> None:
        """Sync `folder`; and at its first use the folders above it, which another process may just have made."""
        _sync_folder(folder)
        if folder not in self._settled:
            for above in folder.relative_to(self.root).parents:
                _sync_folder(self.root / above)
            self._settled.add(folder)


def _open_new(path: Path) -> BinaryIO:
    try:
        return path.open("xb")
    except FileNotFoundError:
        _make_folder(path.parent)
        return path.open("xb")


def _make_folder(folder: Path) -> None:
    """`folder`, with every new name on the way to it synced: a power cut cannot take them back."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(entry: os.DirEntry[str]) -> None:
    """Remove what a put that was killed left behind, once it is old."""
    with suppress(OSError):
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > _CUT_OFF and entry.is_file(follow_symlinks=False):
            os.unlink(entry.path)
