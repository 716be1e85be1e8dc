"""A hub of ZeroMQ admits those alone who have both keys that are made of the password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import zmq
from zmq.utils import z85

from manifold.config import new_secret
from manifold.demo.server import LOOPBACK
from manifold.engines._remote.access import derived, password
from manifold.engines._remote.place import Place, check_url
from manifold.engines.open import open_engine
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    with closing(MIDDLES["zeromq"](tmp_path, LOOPBACK)) as fleet:
        fleet.start_hub()
        yield check_url(fleet.url)


def secret_key(place: Place, whose: str) -> bytes:
    return z85.encode(derived(password(place), f"manifold curve {whose}"))


def answered(place: Place, own: bytes, hub: bytes | None) -> bool:
    """A client with that secret key, and that public key of the hub, gets an answer."""
    dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    with dealer:
        dealer.linger = 0
        if hub is not None:
            dealer.curve_secretkey, dealer.curve_publickey, dealer.curve_serverkey = own, zmq.curve_public(own), hub
        dealer.connect(f"tcp://{place.address}")
        dealer.send(msgspec.msgpack.encode(("open", "group.a", "group")))
        return bool(dealer.poll(1_000))


def test_a_client_needs_both_keys(place: Place) -> None:
    own, hub = secret_key(place, "client"), zmq.curve_public(secret_key(place, "hub"))
    _, another = zmq.curve_keypair()
    assert answered(place, own, hub)
    assert not answered(place, another, hub)
    assert not answered(place, own, zmq.curve_public(another))
    assert not answered(place, own, None)
    open_engine(place.url).shutdown()


def test_a_hub_can_be_at_an_address_of_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    for scheme in ("manager", "tcp", "zeromq"):
        url = MIDDLES[scheme](tmp_path, "[::1]").url
        with closing(Fleet(url, tmp_path / scheme)) as fleet:
            fleet.start_hub()
            open_engine(url).shutdown()
