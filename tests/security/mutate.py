"""Messages gone wrong, from a seed: what somebody could send who may write to a queue and has no secret."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec

from manifold.protocol import envelope

FOREIGN = envelope.Keyring({"k0": b"somebody else's secret of 32 bytes"})
_FIELDS = ("uid", "attempt", "nonce", "start", "stop", "layer", "kind", "digest", "key_id")


def mutants(seed: int, captured: Sequence[bytes], pickled: bytes) -> Iterator[bytes]:
    """Without end: captured messages altered, cut, swollen, put together anew, or signed with another secret, many
    with `pickled` in them; and garbage."""
    dice = random.Random(seed)
    ways = (_flip, _cut, _swell, _with_other_fields, _with_another_payload, _signed_by_somebody_else, _spliced, _noise)
    while True:
        yield dice.choice(ways)(dice, captured, pickled)


def _flip(dice: random.Random, captured: Sequence[bytes], _pickled: bytes) -> bytes:
    data = bytearray(dice.choice(captured))
    for _ in range(dice.choice((1, 1, 1, 8))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(data) if bytes(data) not in captured else b""


def _cut(dice: random.Random, captured: Sequence[bytes], _pickled: bytes) -> bytes:
    data = dice.choice(captured)
    return data[: dice.randrange(len(data))]


def _swell(dice: random.Random, captured: Sequence[bytes], pickled: bytes) -> bytes:
    return dice.choice(captured) + dice.choice((b"\0", pickled, dice.randbytes(dice.choice((10, 100_000)))))


def _with_other_fields(dice: random.Random, captured: Sequence[bytes], pickled: bytes) -> bytes:
    """The head says something else, and the signature is the old one."""
    data = dice.choice(captured)
    try:
        head = msgspec.msgpack.decode(data[8 : 8 + int.from_bytes(data[4:8], "big")])
    except msgspec.MsgspecError:
        return pickled
    head[dice.choice(_FIELDS)] = dice.choice(("", "receipt", "x" * 64, 7, -1, 2**63, None, [[]], {"a": b"\xff"}))
    packed = msgspec.msgpack.encode(head)
    mac_and_body = data[8 + int.from_bytes(data[4:8], "big") :]
    return data[:4] + len(packed).to_bytes(4, "big") + packed + mac_and_body


def _with_another_payload(dice: random.Random, captured: Sequence[bytes], pickled: bytes) -> bytes:
    data = dice.choice(captured)
    end = 8 + int.from_bytes(data[4:8], "big") + 32
    return data[:end] + pickled


def _signed_by_somebody_else(dice: random.Random, captured: Sequence[bytes], pickled: bytes) -> bytes:
    try:
        header = envelope.peek(dice.choice(captured))
    except Exception:  # noqa: BLE001 - it is not a sealed message
        return pickled
    return envelope.seal(FOREIGN, msgspec.structs.replace(header, key_id="k0", zstd=False), pickled)


def _spliced(dice: random.Random, captured: Sequence[bytes], _pickled: bytes) -> bytes:
    one, two = dice.choice(captured), dice.choice(captured)
    at = dice.randrange(min(len(one), len(two)))
    data = one[:at] + two[at:]
    return data if data not in captured else b""


def _noise(dice: random.Random, _captured: Sequence[bytes], pickled: bytes) -> bytes:
    deep = b"\x91" * dice.randrange(5_000)  # MessagePack: a list in a list in a list …
    bomb = envelope.MAGIC + b"\xff\xff\xff\xff" + deep
    head = deep[:4000]
    nested = envelope.MAGIC + len(head).to_bytes(4, "big") + head + bytes(32)
    return dice.choice(
        (b"", pickled, deep, bomb, nested, b"\xa1\xff", envelope.MAGIC, dice.randbytes(dice.randrange(300)))
    )
