"""Which keys a store takes: a check that every adapter makes before it touches anything."""

from __future__ import annotations

import re

from manifold.errors import ConfigError

LONGEST = 200
# A part with a leading dot is left to the adapters (files on their way into place); it also shuts out "..".
_KEY = re.compile(r"(?!\.)[0-9A-Za-z._-]+(/(?!\.)[0-9A-Za-z._-]+)*")
_PREFIX = re.compile(r"[0-9A-Za-z._/-]*")


def checked(key: str) -> str:
    """`key`, if a store may use it; raises ConfigError otherwise."""
    if len(key) > LONGEST or not _KEY.fullmatch(key):
        raise ConfigError(
            f"{key[:LONGEST]!r} is no key: letters, digits, '.', '_' and '-' in parts divided by '/', "
            f"none empty or with a leading dot, {LONGEST} characters at most"
        )
    return key


def checked_prefix(prefix: str) -> str:
    """`prefix`, if keys can begin with it; raises ConfigError otherwise."""
    if not _PREFIX.fullmatch(prefix) or prefix.startswith((".", "/")) or "/." in prefix or "//" in prefix:
        raise ConfigError(f"{prefix[:LONGEST]!r} is not how a key begins")
    return prefix
