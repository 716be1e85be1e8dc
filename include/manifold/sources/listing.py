"""Which files a path or a pattern names. What matches and cannot be read is said, never left out without a word."""

from __future__ import annotations

import glob
import logging
from typing import Any

from manifold.errors import ConfigError
from manifold.redaction import masked
from manifold.sources.pinned import PinnedFile, chained, is_web, refusal, unreadable

_log = logging.getLogger(__name__)


def listed(fs: Any, path: str, shown: str) -> list[PinnedFile]:
    """Return the files that `path` (within `fs`) names, by name; empty where there are none.

    * Links are what they lead to. Hidden files and folders match only what begins with a dot, as in `glob.glob`.
    * Folders that match a pattern are named in the log, and are an error where nothing else matches.

    Raises:
        ConfigError: it is a folder, a link to nothing, neither file nor folder, or cannot be read.
    """
    fs.invalidate_cache()  # a listing of earlier would hide what came or changed since
    try:
        one = fs.info(path)
    except FileNotFoundError as exc:
        if not _is_pattern(fs, path):
            if (why := refusal(exc)) is not None:
                raise ConfigError(f"{shown} cannot be read: {why}") from chained(exc, path)
            return []
        return _matches(fs, path, shown)
    except Exception as exc:  # noqa: BLE001 - a client raises what it likes
        raise unreadable(shown, exc) from chained(exc, path)
    if one["type"] == "directory":
        raise ConfigError(f"{shown} is a folder; say which files, as in {shown.rstrip('/')}/*")
    return [PinnedFile.of(_resolved(fs, one))]


def _is_pattern(fs: Any, path: str) -> bool:
    # In a URL a question mark begins the query.
    return bool(set(path) & set("*[" if is_web(fs) else "*?["))


def _matches(fs: Any, pattern: str, shown: str) -> list[PinnedFile]:
    infos = [_resolved(fs, info) for info in _found(fs, pattern, shown)]
    folders = [masked(str(info["name"])) for info in infos if info["type"] == "directory"]
    files = [PinnedFile.of(info) for info in infos if info["type"] != "directory"]
    if folders and "**" not in pattern:  # which matches folders too, but with the files in them
        what = f"{len(folders):,} folders ({', '.join(folders[:3])}{', …' if len(folders) > 3 else ''})"
        what = f"the folder {folders[0]}" if len(folders) == 1 else what
        if not files:
            raise ConfigError(f"{shown} matches {what} and no file; for the files in there, write {shown}/*")
        _log.warning("%s matches %s too, whose files are not read; for these, write %s/*", shown, what, shown)
    return sorted(files)


def _found(fs: Any, pattern: str, shown: str) -> list[dict[str, Any]]:
    """What the file system says of each match."""
    if "file" in fs.protocol:
        # The standard library's walk enters folders that are links; fsspec's leaves them out.
        return [{"name": name, "type": "", "islink": True} for name in sorted(glob.glob(pattern, recursive=True))]
    try:
        found = fs.glob(pattern, detail=True)
    except Exception as exc:  # noqa: BLE001 - a client raises what it likes
        raise unreadable(shown, exc) from chained(exc, pattern)
    return [info for name, info in sorted(found.items()) if not _is_hidden(name, pattern)]


def _resolved(fs: Any, info: dict[str, Any]) -> dict[str, Any]:
    """What a link leads to, under the link's name."""
    if info["type"] in ("file", "directory") and not info.get("islink"):
        return info
    name = info["name"]
    try:
        there: dict[str, Any] = {**fs.info(name), "name": name}
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{masked(str(name))} is a link to nothing: delete it, or restore what it names"
        ) from chained(exc, str(name))
    except Exception as exc:  # noqa: BLE001 - a client raises what it likes
        raise unreadable(masked(str(name)), exc) from chained(exc, str(name))
    if there["type"] not in ("file", "directory", "link"):
        raise ConfigError(f"{masked(str(name))} is neither a file nor a folder (a pipe or a device), and is not read")
    return there


def _is_hidden(name: str, pattern: str) -> bool:
    """A part of `name` begins with a dot, and what matched it does not: `glob.glob` would not find it."""
    parts, asked = name.split("/"), pattern.split("/")
    if "**" not in asked:
        return any(part.startswith(".") and not one.startswith(".") for part, one in zip(parts, asked, strict=False))
    first, last = asked.index("**"), len(asked) - asked[::-1].index("**")
    head, tail = asked[:first], asked[last:]
    ends = [*zip(parts, head, strict=False), *(zip(parts[-len(tail) :], tail, strict=False) if tail else ())]
    if any(part.startswith(".") and not one.startswith(".") for part, one in ends):
        return True
    between = parts[len(head) : len(parts) - len(tail)]
    named = any(one.startswith(".") for one in asked[first:last])
    return not named and any(part.startswith(".") for part in between)
