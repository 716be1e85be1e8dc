"""Messages larger than a transport takes at once, in parts."""

from __future__ import annotations

import logging
import secrets
import struct
from collections import OrderedDict, deque
from collections.abc import Iterator

_log = logging.getLogger(__name__)

_MAGIC = b"MNFP"
_HEAD = struct.Struct(">4s8sII")
_KEPT_WITH = 500  # bytes of memory that a part takes besides its own
UNFINISHED = 1024**3
"""Bytes of messages that are not whole yet; beyond, the oldest are given up, and sent again by whoever sent them: parts
are not signed, so anybody could fill the memory with them."""


def new_name() -> bytes:
    """Return what the parts of one message have in common."""
    return secrets.token_bytes(8)


def split(data: bytes, limit: int, unique: bytes) -> Iterator[bytes]:
    """Yield the data itself, or parts of at most `limit` bytes."""
    if len(data) <= limit:
        yield data
        return
    size = limit - _HEAD.size
    number = -(-len(data) // size)
    for place in range(number):
        yield _HEAD.pack(_MAGIC, unique, place, number) + data[place * size : (place + 1) * size]


class Joiner:
    """Makes whole messages of parts, which come in any order, some of them twice."""

    def __init__(self) -> None:
        self._parts: OrderedDict[bytes, dict[int, bytes]] = OrderedDict()
        self.bytes = 0
        self._finished: deque[bytes] = deque(maxlen=256)  # whose parts can come once more

    def whole(self, data: bytes) -> bytes | None:
        """Return the message once its last part is here; None before."""
        if not data.startswith(_MAGIC) or len(data) < _HEAD.size:
            return data
        _, unique, place, number = _HEAD.unpack_from(data)
        if unique in self._finished:
            return None
        parts = self._parts.setdefault(unique, {})
        if place < number and place not in parts:
            parts[place] = data[_HEAD.size :]
            self.bytes += len(data) + _KEPT_WITH
        if len(parts) == number:
            self._drop(unique)
            self._finished.append(unique)
            return b"".join(parts[one] for one in range(number))
        while self.bytes > UNFINISHED:
            _log.warning("a message of many parts is given up: more than %s bytes are not whole", f"{UNFINISHED:,}")
            self._drop(next(iter(self._parts)))
        return None

    def _drop(self, unique: bytes) -> None:
        self.bytes -= sum(len(part) + _HEAD.size + _KEPT_WITH for part in self._parts.pop(unique).values())
