"""A file that appears whole or not at all, wherever fsspec writes to."""

from __future__ import annotations

import gzip
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import fsspec

from manifold.errors import ConfigError, MissingExtra
from manifold.redaction import masked


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise ConfigError where `path` is seen to lie in no folder, as `written` would; before hours of work, say."""
    where = os.fspath(path)
    if _is_local(where) and not (target := _as_path(where)).parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent} to write {target.name} into")


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write into, packed where `path` ends in .gz. It is at `path` only after the block went well."""
    where = os.fspath(path)
    check_target(where)
    with _local(_as_path(where)) if _is_local(where) else _remote(where) as raw:
        if where.endswith(".gz"):
            # No file name and no time inside, so that equal results make equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                yield cast("IO[bytes]", packed)
        else:
            yield raw


def _is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")


def _as_path(where: str) -> Path:
    return Path(where.removeprefix("file://"))


@contextmanager
def _local(path: Path) -> Iterator[IO[bytes]]:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with fresh.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()


@contextmanager
def _remote(path: str) -> Iterator[IO[bytes]]:
    try:
        fs, inside = fsspec.core.url_to_fs(path)
    except ImportError as exc:
        missing = getattr(exc.__cause__, "name", None) or "its client"
        raise MissingExtra(f"{masked(path)} needs a package that is not here: pip install {missing}") from exc
    # In a transaction an upload becomes visible at its end, and is dropped where the block raises.
    with fs.transaction, cast("Any", fs.open(inside, "wb")) as file:
        yield file
