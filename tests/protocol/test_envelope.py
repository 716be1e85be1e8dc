"""Nothing is unpickled that is not signed, whole, and meant for this place."""

from __future__ import annotations

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold import config
from manifold.errors import ConfigError, WireError
from manifold.protocol import envelope
from manifold.worker.run import run_chunk

RING = envelope.Keyring({"a": b"0123456789abcdef0123456789abcdef"})
HEADER = envelope.Header(kind="result", uid="u" * 32, key_id="a", start=3, stop=9, attempt="t" * 32, nonce="n")


@given(st.binary(max_size=300_000))
def test_what_is_sealed_comes_back(payload: bytes) -> None:
    header, found = envelope.unseal(RING, envelope.seal(RING, HEADER, payload), "result", uid="u" * 32, start=3)
    assert found == payload
    assert (header.start, header.stop) == (3, 9)


def test_payloads_that_shrink_are_compressed_and_others_are_not() -> None:
    assert len(envelope.seal(RING, HEADER, bytes(1_000_000))) < 10_000
    noise = random.Random(1).randbytes(1_000_000)
    assert len(envelope.seal(RING, HEADER, noise)) < 1_001_000


def test_every_altered_byte_is_found() -> None:
    sealed = envelope.seal(RING, HEADER, b"the payload")
    for index in range(len(sealed)):
        altered = bytearray(sealed)
        altered[index] ^= 1
        with pytest.raises(WireError):
            envelope.unseal(RING, bytes(altered), "result")


def test_every_truncation_is_found() -> None:
    sealed = envelope.seal(RING, HEADER, b"the payload")
    for length in range(len(sealed)):
        with pytest.raises(WireError):
            envelope.unseal(RING, sealed[:length], "result")


@pytest.mark.parametrize(
    "place", [{"uid": "v" * 32}, {"start": 4}, {"attempt": "x"}, {"nonce": "m"}, {"layer": 1}], ids=str
)
def test_a_valid_blob_cannot_stand_in_another_place(place: dict[str, object]) -> None:
    with pytest.raises(WireError, match="another place"):
        envelope.unseal(RING, envelope.seal(RING, HEADER, b"x"), "result", **place)


def test_a_blob_of_one_kind_is_not_taken_for_another() -> None:
    with pytest.raises(WireError, match="kind"):
        envelope.unseal(RING, envelope.seal(RING, HEADER, b"x"), "function")


def test_a_secret_that_is_missing_is_named() -> None:
    other = envelope.Keyring({"b": b"fedcba9876543210fedcba9876543210"})
    with pytest.raises(WireError, match=r"'a'.*MANIFOLD_SECRET"):
        envelope.unseal(other, envelope.seal(RING, HEADER, b"x"), "result")


def test_an_old_key_still_verifies_while_a_new_one_signs() -> None:
    both = envelope.Keyring({"b": b"fedcba9876543210fedcba9876543210", "a": b"0123456789abcdef0123456789abcdef"})
    assert both.current == "b"
    assert envelope.unseal(both, envelope.seal(RING, HEADER, b"x"), "result")[1] == b"x"


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError):
        envelope.Keyring({"a": b"short"})


def test_a_keyring_shows_no_secret() -> None:
    assert "0123" not in repr(RING)


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple[object, ...]:
        return setattr, (Bomb, "exploded", True)


def test_a_worker_unpickles_nothing_that_is_unsigned() -> None:
    bomb = pickle.dumps(Bomb())
    forged = envelope.seal(envelope.Keyring({config.keyring().current: b"x" * 32}), _ours("task"), bomb)
    for message in (bomb, forged, b"", b"MNF1" + bomb, envelope.seal(config.keyring(), _ours("result"), bomb)):
        with pytest.raises(WireError):
            run_chunk(message)
    assert not Bomb.exploded


def _ours(kind: envelope.Kind) -> envelope.Header:
    return envelope.Header(kind=kind, uid="u" * 32, key_id=config.keyring().current)
