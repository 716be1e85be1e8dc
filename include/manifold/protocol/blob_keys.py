"""The keys of a store: each of their forms is made here, taken apart here, and nowhere else.

| key | what rests there |
|---|---|
| `LEDGER/SCATTER/0000000000000000-0000000000000064.ATTEMPT.NONCE.r` | results of one execution of the chunk [0, 100) |
| `LEDGER/SCATTER/0000000000000000-0000000000000064.ATTEMPT.NONCE.f` | its sidecar: the items that failed |
| `LEDGER/SCATTER/0000000000000000-0000000000000064.ATTEMPT.NONCE.l` | its log |
| `LEDGER/SCATTER/function.EPOCH.DIGEST` | the function of one try |
| `KEY-1`, `KEY-2`, … | the rest of a blob that is larger than a value of the store may be |
| `manifold-store/STORE` | the store's marker |

LEDGER, SCATTER and STORE are ids, DIGEST is the first half of a SHA-256, positions have 16 hexadecimal digits. Without
the ledger's id, two ledgers on one bucket would collect each other's blobs.
"""

from __future__ import annotations

import re
from typing import Literal

from manifold.errors import ConfigError

LONGEST = 200
"""Characters of a key, at most."""
MARKERS = "manifold-store/"
"""What the keys of markers begin with."""

BlobKind = Literal["r", "f", "l"]
"""Results, failed items, log."""

# A part with a leading dot is left to the adapters (files on their way into place); it also shuts out "..".
_KEY = re.compile(r"(?!\.)[0-9A-Za-z._-]+(/(?!\.)[0-9A-Za-z._-]+)*")
_PREFIX = re.compile(r"[0-9A-Za-z._/-]*")
_CHUNK = re.compile(
    r"[^/]+/[^/]+/[0-9a-f]{16,}-[0-9a-f]{16,}\.(?P<attempt>[^./]+)\.(?P<nonce>[^./]+)\.(?P<kind>[a-z]+)(-[0-9]+)?"
)
_PIECE = re.compile(r"(?<=\.[a-z])-[0-9]+$|(?<=\.[0-9a-f]{32})-[0-9]+$")
_DIGEST = 32


def checked(key: str) -> str:
    """Return `key`, if a store can use it; raises ConfigError otherwise."""
    if len(key) > LONGEST or not _KEY.fullmatch(key):
        raise ConfigError(
            f"{key[:LONGEST]!r} is not a key: letters, digits, '.', '_' and '-' in parts divided by '/', "
            f"none empty or with a leading dot, {LONGEST} characters at most"
        )
    return key


def checked_prefix(prefix: str) -> str:
    """Return `prefix`, if keys can begin with it; raises ConfigError otherwise."""
    if not _PREFIX.fullmatch(prefix) or prefix.startswith((".", "/")) or "/." in prefix or "//" in prefix:
        raise ConfigError(f"{prefix[:LONGEST]!r} is not how a key begins")
    return prefix


def scatter_prefix(ledger: str, scatter: str) -> str:
    """Return what all keys of one scatter begin with: `LEDGER/SCATTER/`."""
    return f"{ledger}/{scatter}/"


def chunk_key(ledger: str, scatter: str, start: int, stop: int, attempt: str, nonce: str, kind: BlobKind) -> str:
    """Return where an execution of the chunk [start, stop) puts a blob: `LEDGER/SCATTER/START-STOP.ATTEMPT.NONCE.r`."""
    return f"{scatter_prefix(ledger, scatter)}{start:016x}-{stop:016x}.{attempt}.{nonce}.{kind}"


def parsed(key: str) -> re.Match[str] | None:
    """Return `attempt`, `nonce` and `kind` of `LEDGER/SCATTER/START-STOP.ATTEMPT.NONCE.r` or a piece of it, or None."""
    return _CHUNK.fullmatch(key)


def execution_of(key: str) -> str:
    """Return what the blobs of one execution share: `LEDGER/SCATTER/START-STOP.ATTEMPT.NONCE` of `….NONCE.r`."""
    return key.rpartition(".")[0]


def log_key(key: str) -> tuple[str, str]:
    """Return where the execution that left `….NONCE.r` or `….NONCE.f` keeps its log, `….NONCE.l`, and its nonce."""
    execution = execution_of(key)
    return f"{execution}.l", execution.rpartition(".")[2]


def function_key(ledger: str, scatter: str, epoch: int, digest: str) -> str:
    """Return where the function of one try rests: `LEDGER/SCATTER/function.EPOCH.DIGEST`.

    It is under its epoch, because gc may be about to delete what an earlier one left.
    """
    return f"{scatter_prefix(ledger, scatter)}function.{epoch}.{digest[:_DIGEST]}"


def function_digest(key: str) -> str:
    """Return what the payload's digest begins with, of `LEDGER/SCATTER/function.EPOCH.DIGEST`; "" for another form."""
    parts = key.rpartition("/")[2].split(".")
    return parts[2] if len(parts) == 3 else ""


def piece_key(key: str, number: int) -> str:
    """Return where piece `number` (1, 2, …) of a blob rests: `KEY-NUMBER`. The beginning is at the blob's own key."""
    return f"{key}-{number}"


def blob_of(key: str) -> str:
    """Return the key of the blob that a piece belongs to: `….r` of `….r-2`; any other key as it is."""
    return _PIECE.sub("", key)


def marker_key(store: str) -> str:
    """Return where a store keeps its marker: `manifold-store/STORE`."""
    return f"{MARKERS}{store}"


def marked(key: str) -> str:
    """Return the id of the store that has a marker at `manifold-store/STORE`."""
    return key.removeprefix(MARKERS)
