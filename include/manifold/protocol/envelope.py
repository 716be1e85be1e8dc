"""What goes over a network or rests in a store: pickled by `pickler`, compressed where it pays, signed.

A sealed message is::

    b"MNF1" | u32 length of header | header (MessagePack) | HMAC-SHA256, 32 bytes | payload

The MAC covers the header, and the header holds the payload's SHA-256. The header says which kind of thing this is,
of which scatter, range, attempt and execution, so a valid blob cannot stand in another place (SEMANTICS section 10).
Nothing is decrypted, decompressed or unpickled before its MAC was found right.

What holds secrets (a function with its constants, connections) is encrypted: AES-256-GCM, with a key of the scatter's
own that is derived like the one that signs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from manifold.errors import ConfigError, WireError
from manifold.protocol import pickler, proof, scope
from manifold.text import storable_all

Kind = Literal["task", "receipt", "result", "failed", "function", "secrets", "call", "reply", "log", "signal"]

MAGIC = b"MNF1"
"""What every sealed message begins with."""
_LENGTH = struct.Struct(">I")
_MAC_BYTES = 32
_NONCE_BYTES = 12
_MAX_HEADER = 4096
_ID = re.compile(r"[0-9A-Za-z_-]{1,16}")
_WORTH_COMPRESSING = 4096  # bytes; below, a frame's overhead eats the gain
_TRIAL = 64 * 1024  # bytes tried before a large payload is compressed whole


class Header(msgspec.Struct, frozen=True):
    """What a sealed message is. Fields that do not apply keep their default."""

    kind: Kind
    uid: str
    key_id: str
    digest: str = ""
    zstd: bool = False
    encrypted: bool = False
    layer: int = 0
    start: int = 0
    stop: int = 0
    attempt: str = ""
    nonce: str = ""
    size: int = 0
    """Bytes of the payload as it travels; 0 where an older version wrote it."""


class Keyring:
    """The deployment's secrets by id; the first one signs new scatters, all of them verify.

    Args:
        keys: id → secret of at least 16 bytes. Ids are short names of letters and digits.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys or any(len(secret) < 16 for secret in keys.values()):
            raise ConfigError("a secret has at least 16 bytes; `manifold doctor --new-secret` prints a good one")
        # Ids are shown in messages. A secret that was written where its id belongs must not be.
        if not all(_ID.fullmatch(key_id) for key_id in keys):
            raise ConfigError("a secret's id is 1 to 16 letters and digits, as in id:hex; one is something else")
        self._keys = dict(keys)
        self.current = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"  # never the secrets

    def key(self, key_id: str, uid: str) -> bytes:
        """The 32-byte key that signs for one scatter (or other unit), derived by HKDF-SHA256 (RFC 5869)."""
        return _derive(self._secret(key_id), b"manifold scatter " + uid.encode())

    def cipher_key(self, key_id: str, uid: str) -> bytes:
        """The 32-byte key that encrypts for one scatter, derived likewise."""
        return _derive(self._secret(key_id), b"manifold cipher " + uid.encode())

    def _secret(self, key_id: str) -> bytes:
        try:
            return self._keys[key_id]
        except KeyError:
            raise WireError(
                f"signed with key {key_id!r}, which this process does not have (it has: {', '.join(self._keys)}). "
                "MANIFOLD_SECRET must be the same on coordinators and workers"
            ) from None


@lru_cache(maxsize=256)
def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def encode(message: Any) -> bytes:
    """Return a message of the protocol as MessagePack. Text in it that is not valid Unicode is made `storable`."""
    try:
        return msgspec.msgpack.encode(message)
    except UnicodeEncodeError:
        return msgspec.msgpack.encode(storable_all(msgspec.to_builtins(message, builtin_types=(bytes,))))


def digest(data: bytes) -> str:
    """SHA-256, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def seal(keyring: Keyring, header: Header, payload: bytes) -> bytes:
    """`payload`, signed, with what `header` says of it (its digest, size and compression are filled in here).

    With `header.encrypted`, nobody reads it without the secret. Equal payloads of a scatter give equal messages.
    """
    packed = _compressed(payload)
    shorter = packed is not None
    body = packed if packed is not None else payload
    if header.encrypted:
        body = _encrypted(keyring.cipher_key(header.key_id, header.uid), header.kind, body)
    header = msgspec.structs.replace(header, digest=digest(body), zstd=shorter, size=len(body))
    head = msgspec.msgpack.encode(header)
    mac = hmac.digest(keyring.key(header.key_id, header.uid), head, "sha256")
    return b"".join((MAGIC, _LENGTH.pack(len(head)), head, mac, body))


def unseal(keyring: Keyring, data: bytes, kind: Kind, **expected: object) -> tuple[Header, bytes]:
    """The header and payload of a sealed message; raises WireError unless it is signed, whole and what was expected.

    Args:
        kind: what it must be.
        expected: header fields that must have these values, such as `uid=…` or `attempt=…`.
    """
    header, mac, head, body = _parse(data)
    if not hmac.compare_digest(mac, hmac.digest(keyring.key(header.key_id, header.uid), head, "sha256")):
        raise WireError("the signature is wrong: altered, or signed with another secret")
    if not hmac.compare_digest(header.digest, digest(body)):
        raise WireError("the payload is not the one that was signed: cut short or altered")
    for name, wanted in {"kind": kind, **expected}.items():
        if getattr(header, name) != wanted:
            raise WireError(f"signed, but for another place: {name} is {getattr(header, name)!r}, not {wanted!r}")
    if header.encrypted:
        body = _decrypted(keyring.cipher_key(header.key_id, header.uid), header.kind, body)
    if not header.zstd:
        return header, body
    try:
        return header, zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as exc:
        raise WireError(f"signed, but does not decompress: {exc}") from exc


def _encrypted(key: bytes, kind: Kind, body: bytes) -> bytes:
    # The nonce is made of what it is for, so that none serves twice for different contents.
    nonce = hmac.digest(key, kind.encode() + b"|" + body, "sha256")[:_NONCE_BYTES]
    return nonce + AESGCM(key).encrypt(nonce, body, kind.encode())


def _decrypted(key: bytes, kind: Kind, body: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], kind.encode())
    except (InvalidTag, ValueError) as exc:
        raise WireError("signed, but does not decrypt") from exc


def is_ours(keyring: Keyring, data: bytes) -> bool:
    """True where the head is signed with a secret of this keyring, whatever became of the payload."""
    try:
        header, mac, head, _ = _parse(data)
        return hmac.compare_digest(mac, hmac.digest(keyring.key(header.key_id, header.uid), head, "sha256"))
    except WireError:
        return False


def peek(data: bytes) -> Header:
    """The header of a sealed message, NOT verified: only for choosing where to look. Raises WireError."""
    return _parse(data)[0]


def sealed_digest(data: bytes) -> str:
    """The payload digest that a message carries, as the ledger keeps it."""
    return peek(data).digest


def sealed_size(data: bytes) -> int:
    """Return how many bytes the message has that begins with `data`; those that are here where it does not say."""
    try:
        header, _, _, body = _parse(data)
    except WireError:
        return len(data)
    return len(data) - len(body) + header.size


def packed_size(payload: bytes, most: int) -> int:
    """Return how many bytes the payload has as it travels; it is compressed only where it would be more than `most`."""
    if len(payload) <= most:
        return len(payload)
    packed = _compressed(payload)
    return len(payload) if packed is None else len(packed)


def dumps(value: Any) -> bytes:
    """`value` pickled, for any process that reads it: the author's classes and functions are references, by which the
    reader finds its own, with a definition for a reader that has none. Raises what pickling raises."""
    return pickler.dumps(value)


def dumps_by_value(value: Any) -> bytes:
    """`value` pickled, for a process that shall run it: the author's classes and functions are definitions."""
    return pickler.dumps_by_value(value)


def dumps_if_possible(value: Any) -> bytes | None:
    """`value` pickled; None where it cannot be pickled, or not be unpickled again: both run a user's code."""
    try:
        return proof.dumps(value)
    except proof.BROKEN:
        return None


def loads(data: bytes) -> Any:
    """The value again. Call it only on a payload that `unseal` returned.

    References lead to this process's own classes, or within `scope.within(…)` to those of a job.
    """
    return scope.loads(data)


def _parse(data: bytes) -> tuple[Header, bytes, bytes, bytes]:
    start = len(MAGIC) + _LENGTH.size
    if len(data) < start or data[: len(MAGIC)] != MAGIC:
        raise WireError(f"not a message of ours ({len(data)} bytes)")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    end = start + length + _MAC_BYTES
    if length > _MAX_HEADER or len(data) < end:
        raise WireError(f"cut short: {len(data)} bytes")
    head = data[start : start + length]
    try:
        header = msgspec.msgpack.decode(head, type=Header)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:  # a UnicodeDecodeError is a ValueError
        raise WireError(f"its header is not readable: {exc}") from exc
    return header, data[start + length : end], head, data[end:]


def _compressed(payload: bytes) -> bytes | None:
    """`payload` by zstd level 1, or None where that saves less than an eighth."""
    if len(payload) < _WORTH_COMPRESSING:
        return None
    compressor = zstandard.ZstdCompressor(level=1)
    if len(payload) > 2 * _TRIAL and len(compressor.compress(payload[:_TRIAL])) > _TRIAL * 7 // 8:
        return None
    packed = compressor.compress(payload)
    return packed if len(packed) <= len(payload) * 7 // 8 else None
