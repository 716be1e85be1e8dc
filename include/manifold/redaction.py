"""Replaces secrets in texts by `***`: those of the environment, and those that a scatter was given.

| secret | where it comes from |
|---|---|
| values of variables that are called like secrets, passwords of URLs | this process's environment |
| what `hide` was told | constants that came from templates, connections, variables |
| what `redactors` know | an integration, such as Airflow's own masker |

A text is masked before it is shortened, so that no part of a secret is left at an edge.
"""

from __future__ import annotations

import html
import json
import os
import re
import reprlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

LEAST = 5
"""Characters of a value that is hidden, at the least, as Airflow's masker has it: `1` or `prod` stand everywhere."""
_OF_ENVIRONMENT = 6
_WIDEST = 12  # characters that one may become where it is escaped
_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE|FERNET|_CONN_|SQL_ALCHEMY_CONN", re.IGNORECASE
)
_PASSWORD = re.compile(r"""//[^:/@\s]*:([^@/\s]+)@|"password"\s*:\s*"([^"]+)["]""")
"""Of a URL, or of a connection as JSON, in whatever variable it stands."""
_OURS = ("MANIFOLD_SECRET", "MANIFOLD_LEDGER", "MANIFOLD_STORE")
_HARMLESS = re.compile(r"true|false|none|null|airflow|[+-]?[\d.,:_-]+", re.IGNORECASE)
_SECRET_QUERY = re.compile(r"((?:pass|pwd|secret|token|key|sig|cred|auth)[^=&]*=)[^&#]*", re.IGNORECASE)
_AFTER_PLACE = re.compile("[/?#]")
_WITHOUT_USERS = ("grpc", "manager", "pyro", "rpyc", "tcp", "zeromq")
"""Schemes whose URLs have a password and no user, so what stands before the @ is one, also without its colon."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")

redactors: list[Callable[[str], str]] = []
"""More masks, each called on every text; an integration adds its own."""

_hidden: Counter[str] = Counter()
_lock = threading.Lock()
_pattern: re.Pattern[str] | None = None


class Hidden:
    """Texts that are masked in this process until `close`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple({form for secret in secrets for form in _forms(secret)})
        _change(_hidden.update, self._secrets)

    def close(self) -> None:
        """Mask them no longer, unless somebody else hides them too."""
        secrets, self._secrets = self._secrets, ()
        _change(_hidden.subtract, secrets)


def hide(secrets: Iterable[str]) -> Hidden:
    """Have every `mask` of this process replace these texts, however they are quoted, until the answer is closed."""
    return Hidden(secrets)


def mask(text: str) -> str:
    """`text` with *** in place of secrets: of the environment, of `hide`, of `redactors`."""
    for pattern in (_of_environment(len(os.environ), *map(os.environ.get, _OURS)), _pattern):
        if pattern is not None:
            text = pattern.sub("***", text)
    for redact in redactors:
        text = redact(text)
    return text


def masked(url: str) -> str:
    """`url` with its secrets replaced by ***, for messages, logs and tables.

    Also where it is not well formed: a password that should have been quoted is what such a message may be about.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    place = _AFTER_PLACE.split(rest, maxsplit=1)[0]
    login, at, host = place.rpartition("@")
    if "@" in rest and scheme in _WITHOUT_USERS:
        rest = f":***@{rest.rpartition('@')[2]}"
    elif at and ":" in login:
        rest = f"{login.partition(':')[0]}:***@{host}{rest[len(place) :]}"
    elif at and scheme.startswith("http"):  # a token
        rest = f"***@{host}{rest[len(place) :]}"
    elif not at and "@" in rest and _is_login(place):
        rest = f"{place.partition(':')[0]}:***@{rest.rpartition('@')[2]}"
    return f"{scheme}://" + _SECRET_QUERY.sub(r"\1***", rest)


def masked_in(text: str) -> str:
    """Return `text` with the secrets of every URL in it replaced by ***."""
    return _URL.sub(lambda found: masked(found[0]), text)


def _is_login(place: str) -> bool:
    """What stands after the colon is not a port, so it is the beginning of a password with a `/`, `?` or `#` in it."""
    _, colon, port = place.partition(":")
    return bool(colon) and not port.isdigit() and not place.startswith("[")


def without_login(url: str) -> str:
    """`url` without user, password and query: an engine's name in metrics and log lines."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = re.split("[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


def longest() -> int:
    """Characters of the longest hidden text: what a cut before `mask` has to leave on top."""
    return max((_WIDEST * len(text) for text in _hidden), default=0)


def secrets_in(value: Any) -> Iterator[str]:
    """The texts in a value that are worth hiding: strings in dicts and lists, in JSON, and passwords of URLs."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from secrets_in(one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from secrets_in(one)
    elif isinstance(value, bytes):
        yield from secrets_in(value.decode(errors="ignore"))
    elif isinstance(value, str) and worth_hiding(value):
        yield value
        yield from (part for parts in _PASSWORD.findall(value) for part in parts if worth_hiding(part))
        if value.lstrip()[:1] in ("{", "["):
            with suppress(ValueError, RecursionError):
                yield from secrets_in(json.loads(value))


def worth_hiding(text: str) -> bool:
    """It has some characters, and is neither a number, a date nor a word that stands everywhere."""
    return len(text.strip()) >= LEAST and not _HARMLESS.fullmatch(text.strip())


class MaskingRepr(reprlib.Repr):
    """A `reprlib.Repr` that masks what it shortens, before it does."""

    def repr_str(self, x: str, level: int) -> str:
        edge = self.maxstring + longest()
        if len(x) > 2 * edge:  # what is left of it stands at its two ends
            return super().repr_str(mask(x[:edge]) + mask(x[-edge:]), level)
        return super().repr_str(mask(x), level)

    def repr_instance(self, x: object, level: int) -> str:
        text = mask(repr(x))
        if len(text) <= self.maxother:
            return text
        head = max(0, (self.maxother - 3) // 2)
        return text[:head] + self.fillvalue + text[len(text) - max(0, self.maxother - 3 - head) :]


def _change(change: Callable[[Iterable[str]], None], secrets: Iterable[str]) -> None:
    global _pattern
    with _lock:
        change(secrets)
        for gone in [one for one, count in _hidden.items() if count <= 0]:
            del _hidden[gone]
        _pattern = _any_of(_hidden)


def _forms(secret: str) -> set[str]:
    """A secret, and what of it may stand alone: as the URL that it came from had it, and its lines."""
    whole = {secret, secret.strip(), unquote(secret)}
    lines = {line.strip() for line in secret.splitlines()} if "\n" in secret.strip() else set()
    return {one for one in whole if len(one) >= LEAST} | {line for line in lines if len(line) > 2 * LEAST}


@lru_cache(maxsize=2)
def _of_environment(*_changes: object) -> re.Pattern[str] | None:
    found: set[str] = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name):
            found.add(value)
        if name == "MANIFOLD_SECRET":
            found.update(part.partition(":")[2] for part in value.split(","))
        found.update(part for parts in _PASSWORD.findall(value) for part in parts)
    return _any_of(one for part in found for one in (part, unquote(part)) if len(one) >= _OF_ENVIRONMENT)


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(set(texts), key=len, reverse=True)
    if not longest_first:
        return None
    firsts = {text[0] for text in longest_first}
    if any(not first.isalnum() or not first.isascii() for first in firsts):
        firsts |= {*"\\%&+"}  # which begin its other forms
    begin = "".join(map(re.escape, sorted(firsts)))
    # Most places of a text are no beginning of any: to see that at once is four times as fast.
    return re.compile(f"(?=[{begin}])(?:{'|'.join(map(_any_form, longest_first))})")


def _any_form(text: str) -> str:
    """A pattern of `text` as it stands in a text, a URL, JSON, XML or a `repr`, and in one of these within another."""
    return "".join(map(_any_character, text))


@lru_cache(maxsize=1024)
def _any_character(char: str) -> str:
    """A pattern of one character, escaped or not."""
    if char.isascii() and char.isalnum():
        return char
    if char == "\\":  # twice as many at each level
        return r"(?:\\+|(?i:%5c))"
    data = char.encode("utf-8", "surrogatepass")
    utf16 = char.encode("utf-16-be", "surrogatepass").hex()
    escapes = [
        *(f"x{ord(char):02x}", f"U{ord(char):08x}", r"\\+".join(f"x{byte:02x}" for byte in data)),
        r"\\+".join(f"u{utf16[at : at + 4]}" for at in range(0, len(utf16), 4)),
        *({"\n": "n", "\r": "r", "\t": "t"}.get(char, "")),
    ]
    names = [f"&#{ord(char)};", f"&#x{ord(char):x};", "".join(f"%{byte:02x}" for byte in data)]
    names += [html.escape(char)] if html.escape(char) != char else []
    forms = [*(rf"\\+(?i:{escape})" for escape in escapes), *(f"(?i:{re.escape(name)})" for name in names)]
    plain = r"\\*" + re.escape(char)
    return f"(?:{'|'.join([plain, *dict.fromkeys(forms)])}{'|[+]' if char == ' ' else ''})"
