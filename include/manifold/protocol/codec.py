"""The payloads of the blobs that a worker leaves in the store: what stands inside the seal.

| kind of the seal | payload |
|---|---|
| `result` | the values of the items that succeeded, in item order, as one pickled list |
| `result`, with `reduce=` | the pickled list of segments (start, stop, partial), in order |
| `failed` | the `FailedItem`s as MessagePack; each one's item stays a pickle of its own |

One pickle for a whole chunk: equal strings and classes are then written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from manifold.errors import WireError
from manifold.protocol import envelope, proof
from manifold.protocol.records import Failure, LogLine
from manifold.text import a_type

VALUES = "pickle"
SEGMENTS = "pickle-segments"
"""The two codecs of a `result` blob, as a scatter's ledger row names them."""


class Segment(NamedTuple):
    """The fold of the results of [start, stop), a run of positions that no failure breaks."""

    start: int
    stop: int
    partial: Any


class FailedItem(msgspec.Struct, frozen=True):
    """One failed item in a sidecar. `item` is its own pickle; None where it would not be pickled.

    `lines` are those of it among the first `log_lines` of its chunk.
    """

    failure: Failure
    item: bytes | None
    traceback: str
    lines: list[LogLine] = []


def encode_values(values: Sequence[Any]) -> bytes:
    """The payload for these results, proven to load again. Raises what pickling or unpickling raises, for all of them;
    `proof.trouble` of each value finds the culprit."""
    return proof.dumps(values if isinstance(values, list) else list(values))


def decode_values(payload: bytes) -> list[Any]:
    """The results again. Call it only on what `envelope.unseal` returned; raises what unpickling raises."""
    return _list(payload)


def encode_segments(segments: Iterable[Segment]) -> bytes:
    """The payload for a chunk that was folded, proven likewise."""
    return proof.dumps([tuple(segment) for segment in segments])


def decode_segments(payload: bytes) -> list[Segment]:
    """The segments again, in order."""
    return [Segment(*one) for one in _list(payload)]


def encode_failed(items: Iterable[FailedItem]) -> bytes:
    """The payload of a sidecar."""
    return envelope.encode(list(items))


def decode_failed(payload: bytes) -> list[FailedItem]:
    """The failed items again, in order; raises WireError where another version wrote them."""
    try:
        return msgspec.msgpack.decode(payload, type=list[FailedItem])
    except msgspec.MsgspecError as exc:
        raise WireError(f"a sidecar is not readable, perhaps written by another version: {exc}") from exc


def _list(payload: bytes) -> list[Any]:
    value = envelope.loads(payload)
    if not isinstance(value, list):
        raise WireError(f"a blob's payload is {a_type(value)}, not a list: another version wrote it")
    return value
