"""An iterable that can be walked once, kept in a file so that it can be read again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from manifold.abc import Source
from manifold.errors import ConfigError
from manifold.sources import records
from manifold.text import a_type
from manifold.writers._atomic import written


def spool(items: Iterable[Any], path: str | os.PathLike[str], *, reuse: bool = False) -> Source:
    """The items of a generator, a cursor, a stream, written to `path` as JSON Lines, as an input that can be re-read.

    Args:
        items: JSON-like values. A tuple or a date would come back as another value, so it is refused.
        path: what fsspec writes to, ending in .jsonl or .jsonl.gz. It appears when all items are written.
        reuse: take the file that an earlier try has written, and leave `items` alone.

    Raises:
        ConfigError: for such an item, or where `path` is there already and `reuse` is not set.
    """
    where = os.fspath(path)
    if not where.removesuffix(".gz").endswith(".jsonl"):
        raise ConfigError(f"{where!r} must end in .jsonl or .jsonl.gz")
    if _is_there(where):
        if reuse:
            return records(where)
        raise ConfigError(f"{where} is there already; delete it, or say reuse=True to take it instead of these items")
    with written(where) as file:
        for position, item in enumerate(items):
            file.write(_line(position, item))
    return records(where)


def _line(position: int, item: Any) -> bytes:
    try:
        text = json.dumps(item)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"item {position:,}, {a_type(item)}, is not JSON: {exc}") from exc
    # Compared as text: a tuple equals no list there, True not 1, and NaN itself.
    if (back := repr(json.loads(text))) != repr(item):
        raise ConfigError(f"item {position:,} would come back from JSON as {back[:200]}")
    return text.encode() + b"\n"


def _is_there(path: str) -> bool:
    import fsspec

    fs, inside = fsspec.core.url_to_fs(path)
    fs.invalidate_cache()
    return bool(fs.exists(inside))
