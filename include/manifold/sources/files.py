"""Files as an input: which ones they are, and whether they are still the same.

A path is anything fsspec reads: `/data/*.csv`, `s3://bucket/day=1/*.jsonl.gz`, `https://host/flights.csv.zip`.
The list of files is fixed at the first try, by name, size and time of change (or ETag), so files that come later do
not join in. They are read in the order of their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import IO, Any, NamedTuple

import fsspec

from manifold.abc import Source
from manifold.errors import ConfigError, ItemsChanged, MissingExtra
from manifold.protocol.itemdigest import item_digest
from manifold.registry import masked
from manifold.sources import formats

# What file systems call the mark of a version, the surest first.
_STAMPS = ("ETag", "etag", "e_tag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created")


class PinnedFile(NamedTuple):
    """One file, as it was when the input was fixed."""

    path: str
    size: int
    stamp: str
    """The mark of its version: what the file system calls it, and its value."""

    @property
    def name(self) -> str:
        """Its path without secrets, for people and for the ledger."""
        return masked(self.path)

    def kept(self) -> list[str | int]:
        """What the ledger keeps of it."""
        return [self.name, self.size, self.stamp]

    def may_be(self, other: PinnedFile) -> bool:
        """Nothing says that the two differ. A listing and a look at one file may give marks of two kinds."""
        same_kind = self.stamp.partition("=")[0] == other.stamp.partition("=")[0]
        return self.size == other.size and (self.stamp == other.stamp or not same_kind)


class FilesSource(Source):
    """The lines or records of files. Light and without effect until it is pinned or read; `for x in …` works, too."""

    kind = "files"

    def __init__(self, path: str | os.PathLike[str], format: str | None, encoding: str) -> None:
        self.path = os.fspath(path)
        self.format = formats.checked(format)
        self.encoding = encoding
        self._files: list[PinnedFile] | None = None
        self._changes: str | None = None
        self._behind = 0  # bytes of the files that were read to their end
        self._open: IO[bytes] | None = None

    def __repr__(self) -> str:
        if self.format == "lines":
            return f"lines({masked(self.path)!r})"
        return f"records({masked(self.path)!r}{f', format={self.format!r}' if self.format else ''})"

    def __iter__(self) -> Iterator[Any]:
        self.pin(None)
        return self.read()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        path = masked(self.path)
        found = self._listed()
        if pinned is not None and pinned["path"] == path:
            before = [PinnedFile(*one) for one in pinned["files"]]
            there = {one.name: one for one in found}
            if gone := [one.path for one in before if one.path not in there]:
                raise ItemsChanged(f"{_some(gone)} gone since the first try, so {path} cannot be read as it was")
            self._files = [there[one.path] for one in before]
            changed = [new.name for old, new in zip(before, self._files, strict=True) if [*old] != new.kept()]
            self._changes = f"{_some(changed)} changed" if changed else None
        else:
            if not found:
                raise ConfigError(f"no file matches {path}")
            self._files = found
            self._changes = None if pinned is None else f"the path was {pinned['path']} and is {path}"
            self._check_formats()
        return {"path": path, "files": [one.kept() for one in self._files]}

    def fingerprint(self) -> str:
        files = [one.kept() for one in self._pinned()]
        return f"files:{item_digest([masked(self.path), self.format, self.encoding, files])}"

    def total(self) -> None:
        return None

    def read(self, start: int = 0) -> Iterator[Any]:
        return islice(self._items(), start, None)

    def changes(self) -> str | None:
        return self._changes

    def share_read(self) -> float | None:
        total = sum(one.size for one in self._pinned())
        here = self._open.tell() if self._open is not None and not self._open.closed else 0
        return min(1.0, (self._behind + here) / total) if total else None

    @cached_property
    def _where(self) -> tuple[Any, str]:
        """The file system, and the path within it."""
        try:
            fs, path = fsspec.core.url_to_fs(self.path)
        except ImportError as exc:
            missing = getattr(exc.__cause__, "name", None) or "its client"
            raise MissingExtra(f"{masked(self.path)} needs a package that is not here: pip install {missing}") from exc
        except ValueError as exc:
            raise ConfigError(f"{masked(self.path)!r} is no path that fsspec reads: {exc}") from exc
        return fs, path

    def _items(self) -> Iterator[Any]:
        self._behind = 0
        for file in self._pinned():
            with self._opened(file) as raw:
                yield from formats.read(raw, file.name, self.format, self.encoding)
            self._behind += file.size

    @contextmanager
    def _opened(self, file: PinnedFile) -> Iterator[IO[bytes]]:
        fs, _ = self._where
        try:
            now = _pinned_file(fs.info(file.path))
            raw = fs.open(file.path, "rb")
        except FileNotFoundError as exc:
            raise ItemsChanged(f"{file.name} was there when the scatter began, and is gone") from exc
        with raw:
            if not file.may_be(now):
                was, is_now = file.kept(), now.kept()
                raise ItemsChanged(f"{file.name} has changed since the scatter began: it was {was}, and is {is_now}")
            self._open = raw
            try:
                yield raw
            finally:
                self._open = None

    def _pinned(self) -> list[PinnedFile]:
        if self._files is None:
            self.pin(None)
        return self._files or []

    def _listed(self) -> list[PinnedFile]:
        fs, path = self._where
        fs.invalidate_cache()  # a listing of earlier would hide what came or changed since
        try:
            one = fs.info(path)
        except FileNotFoundError:
            found = fs.glob(path, detail=True) if set(path) & set("*?[") else {}
            return sorted(_pinned_file(info) for info in found.values() if info["type"] == "file")
        if one["type"] == "directory":
            raise ConfigError(
                f"{masked(self.path)} is a folder; say which files, as in {masked(self.path).rstrip('/')}/*"
            )
        return [_pinned_file(one)]

    def _check_formats(self) -> None:
        """Find out before the first item is sent that a file cannot be read, as far as its name tells."""
        for file in self._pinned():
            formats.recognised(file.name, self.format)


def _pinned_file(info: dict[str, Any]) -> PinnedFile:
    stamp = next((f"{name}={_plain(info[name])}" for name in _STAMPS if info.get(name) is not None), "")
    return PinnedFile(str(info["name"]), int(info["size"] or 0), stamp)


def _plain(value: Any) -> str:
    return repr(value.timestamp()) if isinstance(value, datetime) else str(value)


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - 3:,} more files are" if len(paths) > 3 else (" are" if len(paths) > 1 else " is")
    return ", ".join(paths[:3]) + more
