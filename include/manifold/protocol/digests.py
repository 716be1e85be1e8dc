"""Digests of items: whether the input of today is the one that was committed.

Plain data has one canonical encoding (`protocol.canonical`), made by a single call for a whole chunk. Whatever that
encoder does not know is walked (`protocol.identity`), which costs about what pickling it costs.

* None, bool, int, float, str and bytes of the same look are told apart: 1, True and 1.0 differ, and so do "a" and b"a",
  and the keys 1 and "1" of a dict.
* A list and a tuple of the same items are alike, as they are in JSON; so are a date, Decimal or UUID and its text.
* Dataclasses, enums and other objects count by their fields and values, arrays and frames by what they hold.
* What has no stable form has no digest: locks, connections, functions, iterators.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from manifold.protocol.canonical import encoded, hashed
from manifold.protocol.identity import Identity

_BLOCK = 16_384  # items that are encoded at a time, where there are many


def chunk_digest(items: Sequence[Any]) -> str | None:
    """32 hex digits for these items in this order, by a single call of the encoder; None if one of them has none.

    A `range` has none: it is compared as a range.
    """
    if isinstance(items, range):
        return None
    return item_digest(items if isinstance(items, (list, tuple)) else list(items))


def item_digest(item: Any) -> str | None:
    """32 hex digits for one item; None if it has no stable form."""
    plain = encoded(item)
    if plain is not None:
        return hashlib.blake2b(plain, digest_size=16).hexdigest()
    identity = Identity(code=False)
    walked = identity.digest(item)
    return None if identity.left_out else walked


def left_out(items: Sequence[Any]) -> str:
    """What in these items has no stable form, for people: "a Client, a lock"."""
    identity = Identity(code=False)
    for item in items:
        identity.of(item)
        if identity.left_out:
            break
    return ", ".join(dict.fromkeys(identity.left_out[:3]))


def whole_digest(items: Iterable[Any], kinds: set[type] | None = None) -> str | None:
    """32 hex digits for all items of an input, of any length, in one pass; None if one of them has none.

    `kinds` gets the types of the items.
    """
    digests: list[bytes] = []
    for block in _blocks(items):
        if kinds is not None:
            kinds.update(map(type, block))
        if (digest := item_digest(block)) is None:
            return None
        digests.append(digest.encode())
    return hashed(b"items", digests).hex()


def _blocks(items: Iterable[Any]) -> Iterator[Sequence[Any]]:
    if isinstance(items, (list, tuple)):
        yield from (items[start : start + _BLOCK] for start in range(0, len(items), _BLOCK))
        return
    walk = iter(items)
    while block := list(islice(walk, _BLOCK)):
        yield block
