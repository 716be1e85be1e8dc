"""Files as an input: which ones they are, and whether they are still the same.

A path is anything fsspec reads: `/data/*.csv`, `s3://bucket/day=1/*.jsonl.gz`, `https://host/flights.csv.zip`.
The list of files is fixed at the first try, by name, size and time of change (or ETag), so files that come later do
not join in. They are read in the order of their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import IO, Any

import fsspec

from manifold.abc import Source
from manifold.errors import ConfigError, ItemsChanged, MissingExtra
from manifold.protocol.digests import item_digest
from manifold.redaction import mask, masked
from manifold.sources import formats
from manifold.sources.http_answers import PLAIN
from manifold.sources.listing import listed
from manifold.sources.pinned import PinnedFile, chained, look, opened, unreadable


class FilesSource(Source):
    """The lines or records of files. Light and without effect until it is pinned or read; `for x in …` works, too."""

    kind = "files"

    def __init__(self, path: str | os.PathLike[str], format: str | None, encoding: str) -> None:
        self.path = os.fsdecode(path)
        self.format = formats.checked(format)
        self.encoding = formats.known_encoding(encoding)
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
            fs, path = fsspec.core.url_to_fs(self.path, **_web_client(self.path))
        except ImportError as exc:
            missing = getattr(exc.__cause__, "name", None) or exc.name or "its client"
            raise MissingExtra(
                f"{masked(self.path)} needs a package that is not here: pip install {missing}"
            ) from chained(exc, self.path)
        except ValueError as exc:
            raise ConfigError(f"{masked(self.path)!r} is not a path that fsspec reads: {mask(str(exc))}") from chained(
                exc, self.path
            )
        except Exception as exc:  # noqa: BLE001 - the client of a file system, or what another one is read through
            raise unreadable(masked(self.path), exc) from chained(exc, self.path)
        return fs, path

    def _items(self) -> Iterator[Any]:
        self._behind = 0
        for file in self._pinned():
            yield from self._of(file)
            self._behind += file.size

    def _of(self, file: PinnedFile) -> Iterator[Any]:
        """The items of one file. That it has changed meanwhile is told at its end, or in place of what came of that."""
        fs, _ = self._where
        with opened(fs, file) as raw:
            self._open = raw
            try:
                yield from formats.read(raw, file.name, self.format, self.encoding)
            except ConfigError:
                look(fs, file)
                raise
            finally:
                self._open = None
        look(fs, file)

    def _pinned(self) -> list[PinnedFile]:
        if self._files is None:
            self.pin(None)
        return self._files or []

    def _listed(self) -> list[PinnedFile]:
        fs, path = self._where
        return listed(fs, path, masked(self.path))

    def _check_formats(self) -> None:
        """Find out before the first item is sent that a file cannot be read, as far as its name tells."""
        for file in self._pinned():
            formats.recognised(file.name, self.format)


def _web_client(path: str) -> dict[str, Any]:
    """How a web client asks: for the file itself, and as long as bytes arrive. By itself it gives a whole file five
    minutes, and takes compressed answers."""
    if not path.startswith(("http://", "https://")):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=60)
    return {"client_kwargs": {"timeout": timeout}, "headers": PLAIN}


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - 3:,} more files are" if len(paths) > 3 else (" are" if len(paths) > 1 else " is")
    return ", ".join(paths[:3]) + more
