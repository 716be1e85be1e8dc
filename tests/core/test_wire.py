"""Nothing is unpickled that is not signed, whole, and meant for this place."""

from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold import settings
from manifold.errors import ConfigError, WireError
from manifold.protocol import wire
from manifold.worker.run import run_chunk

RING = wire.Keyring({"a": b"0123456789abcdef0123456789abcdef"})
HEADER = wire.Header(kind="result", uid="u" * 32, key_id="a", start=3, stop=9, attempt="t" * 32, nonce="n")


@given(st.binary(max_size=300_000))
def test_what_is_sealed_comes_back(payload: bytes) -> None:
    header, found = wire.unseal(RING, wire.seal(RING, HEADER, payload), "result", uid="u" * 32, start=3)
    assert found == payload
    assert (header.start, header.stop) == (3, 9)


def test_payloads_that_shrink_are_compressed_and_others_are_not() -> None:
    assert len(wire.seal(RING, HEADER, bytes(1_000_000))) < 10_000
    noise = random.Random(1).randbytes(1_000_000)
    assert len(wire.seal(RING, HEADER, noise)) < 1_001_000


def test_every_altered_byte_is_found() -> None:
    sealed = wire.seal(RING, HEADER, b"the payload")
    for index in range(len(sealed)):
        altered = bytearray(sealed)
        altered[index] ^= 1
        with pytest.raises(WireError):
            wire.unseal(RING, bytes(altered), "result")


def test_every_truncation_is_found() -> None:
    sealed = wire.seal(RING, HEADER, b"the payload")
    for length in range(len(sealed)):
        with pytest.raises(WireError):
            wire.unseal(RING, sealed[:length], "result")


@pytest.mark.parametrize(
    "place", [{"uid": "v" * 32}, {"start": 4}, {"attempt": "x"}, {"nonce": "m"}, {"layer": 1}], ids=str
)
def test_a_valid_blob_cannot_stand_in_another_place(place: dict[str, object]) -> None:
    with pytest.raises(WireError, match="another place"):
        wire.unseal(RING, wire.seal(RING, HEADER, b"x"), "result", **place)


def test_a_blob_of_one_kind_is_not_taken_for_another() -> None:
    with pytest.raises(WireError, match="kind"):
        wire.unseal(RING, wire.seal(RING, HEADER, b"x"), "function")


def test_a_secret_that_is_missing_is_named() -> None:
    other = wire.Keyring({"b": b"fedcba9876543210fedcba9876543210"})
    with pytest.raises(WireError, match=r"'a'.*MANIFOLD_SECRET"):
        wire.unseal(other, wire.seal(RING, HEADER, b"x"), "result")


def test_an_old_key_still_verifies_while_a_new_one_signs() -> None:
    both = wire.Keyring({"b": b"fedcba9876543210fedcba9876543210", "a": b"0123456789abcdef0123456789abcdef"})
    assert both.current == "b"
    assert wire.unseal(both, wire.seal(RING, HEADER, b"x"), "result")[1] == b"x"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError):
        wire.Keyring({"a": b"short"})


def test_a_keyring_shows_no_secret() -> None:
    assert "0123" not in repr(RING)


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple[object, ...]:
        return setattr, (Bomb, "exploded", True)


def test_a_worker_unpickles_nothing_that_is_unsigned() -> None:
    bomb = pickle.dumps(Bomb())
    forged = wire.seal(wire.Keyring({settings.keyring().current: b"x" * 32}), _ours("task"), bomb)
    for message in (bomb, forged, b"", b"MNF1" + bomb, wire.seal(settings.keyring(), _ours("result"), bomb)):
        with pytest.raises(WireError):
            run_chunk(message)
    assert not Bomb.exploded


def _ours(kind: wire.Kind) -> wire.Header:
    return wire.Header(kind=kind, uid="u" * 32, key_id=settings.keyring().current)
