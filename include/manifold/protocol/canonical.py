"""One encoding of plain data, by a single call of an encoder in C: MessagePack with sorted keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import msgspec

_PATH = 1
_NO_ENCODING = (TypeError, ValueError, OverflowError, RecursionError, AttributeError)


def encoded(value: Any) -> bytes | None:
    """The bytes of a value; None where it, or something in it, has no canonical form in MessagePack."""
    try:
        return msgspec.msgpack.encode(value, enc_hook=_encodable, order="deterministic")
    except _NO_ENCODING:
        return None


def hashed(tag: bytes, parts: Iterable[bytes]) -> bytes:
    """16 bytes for a tag and these parts, none of which can run into the next."""
    hasher = hashlib.blake2b(tag, digest_size=16)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


def _encodable(value: Any) -> Any:
    if isinstance(value, PurePath):
        return msgspec.msgpack.Ext(_PATH, os.fsencode(value))
    raise TypeError(type(value).__name__)
