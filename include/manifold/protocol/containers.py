"""How lists, dicts and sets are walked: by one call of an encoder where their elements are plain, else one by one."""

from __future__ import annotations

import marshal
import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.protocol.canonical import encoded, hashed

if TYPE_CHECKING:
    from manifold.protocol.identity import Identity

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
WALKED = 200_000
"""Elements that are walked one by one; what has more is encoded whole where the encoder knows it all."""
_MANY = 64  # elements from which a container of plain values is encoded in one call
_SORTABLE = frozenset({frozenset({int}), frozenset({str}), frozenset({float}), frozenset({bytes})})
_MARSHAL = 2  # the version of the format without references: what is shared makes no difference


def plain(value: Any) -> bytes:
    """A number, a text, some bytes, or a list of such."""
    return marshal.dumps(value, _MARSHAL)


def _sequence(identity: Identity, value: Any) -> bytes:
    if not identity.code:
        value = list(value)  # XCom makes lists of tuples
    tag = b"l" if isinstance(value, list) else b"t"
    if len(value) >= _MANY and set(map(type, value)) <= PLAIN:
        return hashed(tag + b"*", [plain(value)])
    return _coarse(identity, value) or hashed(tag, map(identity.of, value))


def _mapping(identity: Identity, value: Any) -> bytes:
    if len(value) >= _MANY and _sortable(value) and set(map(type, value.values())) <= PLAIN:
        return hashed(b"d*", [plain(_by_key(value))])
    pairs = ((identity.of(key), identity.of(one)) for key, one in value.items())
    return _coarse(identity, value) or hashed(b"d", sorted(hashed(b":", pair) for pair in pairs))


def _set(identity: Identity, value: Any) -> bytes:
    if len(value) >= _MANY and _sortable(value):
        return hashed(b"s*", [plain(sorted(value))])
    return _coarse(identity, value) or hashed(b"s", sorted(map(identity.of, value)))


def _coarse(identity: Identity, value: Any) -> bytes | None:
    """Data of many elements in one call of the encoder; None where it has to be walked."""
    if not identity.walks(len(value)):
        return identity.leave_out(value)
    if len(value) < _MANY or identity.walked < WALKED:
        return None
    whole = encoded(_by_key(value) if isinstance(value, dict) and _sortable(value) else value)
    return None if whole is None else hashed(b"m", [whole])


def _by_key(value: Any) -> list[tuple[Any, Any]]:
    return sorted(value.items(), key=lambda pair: pair[0])


def _sortable(values: Iterable[Any]) -> bool:
    return frozenset(map(type, values)) in _SORTABLE


WALKS: dict[type, Callable[[Identity, Any], bytes]] = {
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    types.MappingProxyType: _mapping,
    set: _set,
    frozenset: _set,
    bytearray: lambda identity, value: hashed(b"y", [bytes(value)]),
    partial: lambda identity, value: hashed(b"f", map(identity.of, (value.func, value.args, value.keywords))),
}
