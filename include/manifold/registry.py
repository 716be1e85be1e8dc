"""Adapters by URL scheme: imported on first use, by dotted path, with the line that installs what they need.

Other people's adapters come by entry points of the group (`manifold.engines`, `manifold.stores`): name = scheme.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from manifold.errors import ConfigError, MissingExtra

_SECRET_QUERY = re.compile(r"((?:pass|pwd|secret|token|key|sig|cred|auth)[^=&]*=)[^&#]*", re.IGNORECASE)
_AFTER_PLACE = re.compile("[/?#]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a registry.

    Args:
        path: "module:Class".
        clients: the packages that it imports.
        install: the pip line.
        reads: "module:function" that reads a URL and options without opening anything or importing a client, and
            raises ConfigError for what the adapter could not read. For checks while a DAG file is read.
        kills_items: an engine's class attribute of that name, known without importing it.
    """

    path: str
    example: str
    clients: tuple[str, ...] = ()
    install: str = ""
    reads: str = ""
    kills_items: bool = False


@dataclass(frozen=True, slots=True)
class Registry:
    """The adapters of one kind. `kind` is "engine" or "store"."""

    kind: str
    entries: Mapping[str, Entry]

    def adapter(self, url: str) -> type[Any]:
        """The class for `url`'s scheme; raises ConfigError for an unknown one, MissingExtra without its client."""
        scheme = scheme_of(url)
        entry = self.entries.get(scheme)
        if entry is None:
            return self._foreign(scheme, url)
        module, _, name = entry.path.partition(":")
        try:
            return getattr(import_module(module), name)  # type: ignore[no-any-return]
        except ModuleNotFoundError as exc:
            # Only a missing client is cured by pip; any other missing module is a fault to be shown.
            if exc.name and exc.name.partition(".")[0] in entry.clients:
                raise MissingExtra(f"{scheme}:// needs the package {exc.name!r}: {entry.install}") from exc
            raise

    def check(self, url: str, **options: Any) -> Entry | None:
        """Raise ConfigError if no adapter can read `url`, without opening it. None: another package's adapter does."""
        scheme = scheme_of(url)
        entry = self.entries.get(scheme)
        if entry is None:
            self._foreign(scheme, url)
        elif entry.reads:
            module, _, name = entry.reads.partition(":")
            getattr(import_module(module), name)(url, **options)
        return entry

    def _foreign(self, scheme: str, url: str) -> type[Any]:
        for found in entry_points(group=f"manifold.{self.kind}s", name=scheme):
            return found.load()  # type: ignore[no-any-return]
        near = difflib.get_close_matches(scheme, self.entries, n=1)
        hint = f"did you mean {self.entries[near[0]].example}? " if near else ""
        known = ", ".join(f"{name}://" for name in self.entries)
        raise ConfigError(f"no {self.kind} has the scheme of {masked(url)!r}. {hint}Known: {known}")


def scheme_of(url: str) -> str:
    """`redis` of `redis://…`, `sql` of `sql+postgresql://…`; raises ConfigError where there is none."""
    scheme, separator, _ = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ConfigError(f"{masked(url)!r} is not a URL such as processes://4")
    return scheme.partition("+")[0].lower()


def masked(url: str) -> str:
    """`url` with its secrets replaced by ***, for messages, logs and tables.

    Also where it is not well formed: a password that should have been quoted is what such a message may be about.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place = _AFTER_PLACE.split(rest, maxsplit=1)[0]
    login, at, host = place.rpartition("@")
    if at and ":" in login:
        rest = f"{login.partition(':')[0]}:***@{host}{rest[len(place) :]}"
    elif at and scheme.startswith("http"):  # a token
        rest = f"***@{host}{rest[len(place) :]}"
    elif not at and "@" in rest and _is_login(place):
        rest = f"{place.partition(':')[0]}:***@{rest.rpartition('@')[2]}"
    return f"{scheme}://" + _SECRET_QUERY.sub(r"\1***", rest)


def _is_login(place: str) -> bool:
    """What stands after the colon is no port, so it is the beginning of a password with a `/`, `?` or `#` in it."""
    _, colon, port = place.partition(":")
    return bool(colon) and not port.isdigit() and not place.startswith("[")


def without_login(url: str) -> str:
    """`url` without user, password and query: an engine's name in metrics and log lines."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = re.split("[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"
