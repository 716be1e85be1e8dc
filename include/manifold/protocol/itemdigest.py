"""Digests of items: whether the input of today is the one that was committed.

Pickles are no identity: equal values have different pickles when they share a string, and sets differ with the hash
seed. So items have one canonical encoding, MessagePack with sorted keys, and whatever has none has no digest.

* None, bool, int, float, str and bytes of the same look are told apart: 1, True and 1.0 differ, and so do "a" and b"a".
* A list and a tuple of the same items are alike, as they are in JSON; so are a date, Decimal or UUID and its text.
* Dataclasses and enums count by their fields and values.
* Anything else has no digest: other objects, numbers beyond 64 bits, dicts with keys that are no strings.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import msgspec

_PATH = 1
_TEXT = 2
_NO_ENCODING = (TypeError, ValueError, OverflowError, RecursionError, AttributeError)


def chunk_digest(items: Sequence[Any]) -> str | None:
    """32 hex digits for these items in this order, by a single call of the encoder; None if one of them has none.

    A `range` has none: it is compared as a range.
    """
    if isinstance(items, range):
        return None
    return item_digest(items if isinstance(items, (list, tuple)) else list(items))


def item_digest(item: Any) -> str | None:
    """32 hex digits for one item; None if it has no canonical encoding."""
    try:
        encoded = _encoded(item)
    except UnicodeEncodeError:
        try:
            encoded = _encoded(_with_bytes(item))
        except _NO_ENCODING:
            return None
    except _NO_ENCODING:
        return None
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def _encoded(item: Any) -> bytes:
    return msgspec.msgpack.encode(item, enc_hook=_encodable, order="deterministic")


def _with_bytes(value: Any) -> Any:
    """`value` with bytes of their own kind in place of text that is no valid Unicode, such as some file names."""
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return value if raw == value.encode("utf-8", "replace") else msgspec.msgpack.Ext(_TEXT, raw)
    if isinstance(value, dict):
        return sorted(([_with_bytes(key), _with_bytes(one)] for key, one in value.items()), key=repr)
    if type(value) in (list, tuple):
        return [_with_bytes(one) for one in value]
    return value


def _encodable(value: Any) -> Any:
    if isinstance(value, PurePath):
        return msgspec.msgpack.Ext(_PATH, os.fsencode(value))
    raise TypeError(type(value).__name__)
