"""One file of an input, as it was when the input was fixed, and its bytes: those and no others."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import IO, Any, NamedTuple

from manifold.errors import ConfigError, ItemsChanged
from manifold.redaction import mask, masked
from manifold.sources.http_answers import Compared, other_length

UNKNOWN = -1
"""The size of a file of which its server does not say it."""
_BUFFER = 256 * 1024
_IN_MEMORY = 16 << 20  # bytes of a file that cannot be read from its middle, until it goes to a temporary file

# What file systems call the mark of a version, the surest first.
_STAMPS = (
    *("ETag", "etag", "e_tag", "md5Hash", "Content-MD5", "Digest", "generation"),
    *("LastModified", "last_modified", "Last-Modified", "mtime", "created"),
)


class PinnedFile(NamedTuple):
    """One file, as it was when the input was fixed."""

    path: str
    size: int
    stamp: str
    """The mark of its version: what the file system calls it, and its value."""

    @classmethod
    def of(cls, info: dict[str, Any]) -> PinnedFile:
        """Return the file that a file system describes so."""
        stamp = next((f"{name}={_plain(info[name])}" for name in _STAMPS if info.get(name) is not None), "")
        size = info.get("size")
        return cls(str(info["name"]), UNKNOWN if size is None else int(size), stamp)

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


def look(fs: Any, file: PinnedFile) -> None:
    """Raise ItemsChanged if the file is not, or no longer, the pinned one; ConfigError where it cannot be looked at."""
    try:
        now = PinnedFile.of(fs.info(file.path))
    except FileNotFoundError as exc:
        if (why := refusal(exc)) is not None:
            raise ConfigError(f"{file.name} cannot be read: {why}") from chained(exc, file.path)
        raise ItemsChanged(f"{file.name} was there when the scatter began, and is gone") from chained(exc, file.path)
    except Exception as exc:  # noqa: BLE001 - a client raises what it likes
        raise unreadable(file.name, exc) from chained(exc, file.path)
    if not file.may_be(now):
        was, is_now = file.kept(), now.kept()
        raise ItemsChanged(f"{file.name} has changed since the scatter began: it was {was}, and is {is_now}")


@contextmanager
def opened(fs: Any, file: PinnedFile) -> Iterator[IO[bytes]]:
    """The file's bytes, up to the size that was pinned: what is appended meanwhile is not part of the input."""
    look(fs, file)
    try:
        raw = _raw(fs, file)
        if isinstance(raw, io.BufferedIOBase) or _can_seek(raw):
            reader = _Reader(fs, file, raw)
        else:
            raw.close()
            reader = _Reader(fs, file, _copied(fs, file))
    except ItemsChanged:
        raise
    except FileNotFoundError as exc:
        raise ItemsChanged(f"{file.name} was there when the scatter began, and is gone") from chained(exc, file.path)
    except Exception as exc:  # noqa: BLE001 - a client raises what it likes
        raise unreadable(file.name, exc) from chained(exc, file.path)
    with io.BufferedReader(reader, _BUFFER) as stream:
        yield stream


def is_web(fs: Any) -> bool:
    """True for the file system of web servers."""
    return "http" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def chained(exc: BaseException, path: str) -> BaseException | None:
    """Return `exc`, to be raised from; None where `path` holds a secret, which its traceback would show."""
    return exc if masked(path) == path else None


def refusal(exc: BaseException) -> str | None:
    """Return what a web server answered where `exc` only says that there is no such file; None where there is none."""
    cause: BaseException | None = exc
    while cause is not None:
        status = getattr(cause, "status", None)
        if isinstance(status, int) and status:
            return None if status in (404, 410) else f"the server answered {status} {getattr(cause, 'message', '')}"
        if not isinstance(cause, FileNotFoundError):
            return f"{type(cause).__name__}: {mask(str(cause))}"
        cause = cause.__cause__
    return None


def unreadable(name: str, exc: BaseException) -> ConfigError:
    """Return the error for a file, or a folder, that a file system does not let us read."""
    if isinstance(exc, PermissionError):
        return ConfigError(f"{name} cannot be read: this process has no right to ({exc.strerror or 'denied'})")
    return ConfigError(f"{name} cannot be read: {refusal(exc) or f'{type(exc).__name__}: {mask(str(exc))}'}")


class _Reader(io.RawIOBase):
    """The first `size` bytes of a file. One that ends before is ItemsChanged."""

    def __init__(self, fs: Any, file: PinnedFile, raw: IO[bytes]) -> None:
        super().__init__()
        self._fs = fs
        self._file = file
        self._raw = raw
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END and self._file.size == UNKNOWN:
            self._at = self._raw.seek(offset, whence)  # a copy, which knows
            return self._at
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(0, base + offset)
        self._raw.seek(self._at)
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = self._file.size
        wanted = len(buffer) if size == UNKNOWN else min(len(buffer), size - self._at)
        if wanted <= 0:
            return 0
        try:
            data = self._read(wanted)
        except ItemsChanged:
            raise
        except Exception as exc:  # noqa: BLE001 - a client raises what it likes
            raise unreadable(self._file.name, exc) from chained(exc, self._file.path)
        if not data and size != UNKNOWN:
            raise ItemsChanged(f"{self._file.name} had {size:,} bytes when the scatter began, and ends at {self._at:,}")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()

    def _read(self, wanted: int) -> bytes:
        try:
            return self._raw.read(wanted)
        except ValueError:  # a web server that sends the whole file, whichever part it was asked for
            with suppress(Exception):
                self._raw.close()
            self._raw = _copied(self._fs, self._file)
            self._raw.seek(self._at)
            return self._raw.read(wanted)


def _raw(fs: Any, file: PinnedFile, **options: Any) -> Any:
    """The file as its file system opens it; what a web server answers is compared with what was pinned."""
    raw = fs.open(file.path, "rb", **options)
    if not is_web(fs):
        return raw
    compared = Compared(raw.session, file.name, file.size, file.stamp)
    if (answer := getattr(raw, "r", None)) is not None:  # a stream, which has asked for the file already
        try:
            compared.check(answer)
        except BaseException:
            raw.close()
            raise
    raw.session = compared
    return raw


def _can_seek(raw: IO[bytes]) -> bool:
    try:
        raw.seek(1)
        raw.seek(0)
    except (ValueError, OSError):
        return False
    return True


def _copied(fs: Any, file: PinnedFile) -> IO[bytes]:
    """The whole file, in memory or in a temporary file, from a server that only sends files from their beginning.

    At once: a connection that waits for the items to be worked on would be closed by the server.
    """
    copy: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
    with _raw(fs, file, block_size=0) as stream:
        while data := stream.read(1 << 20):
            copy.write(data)
    if file.size not in (UNKNOWN, sent := copy.tell()):
        copy.close()
        raise ItemsChanged(other_length(file.name, file.size, sent))
    copy.seek(0)
    return copy


def _plain(value: Any) -> str:
    return repr(value.timestamp()) if isinstance(value, datetime) else str(value)
