"""What libraries for remote calls would let through, and do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import Pyro5.api
import pytest
import rpyc

from manifold.config import new_secret
from manifold.engines._remote.place import Place, check_url
from manifold.engines._remote.sockets import dial
from manifold.engines.pyro import PyroTransport
from tests.remote.middles import fleet


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Where a hub is, of the scheme that is the test's parameter."""
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    with fleet(request.param, tmp_path, workers=0) as running:
        yield check_url(running.url)


@pytest.mark.parametrize("place", ["rpyc"], indirect=True)
def test_nothing_but_the_one_function_of_an_rpyc_hub_can_be_reached(place: Place) -> None:
    with closing(rpyc.connect_stream(rpyc.SocketStream(dial(place)))) as connection:
        for name in ("mailboxes", "_mailboxes", "exposed_ask", "get_service_name", "_ask"):
            with pytest.raises(AttributeError):
                getattr(connection.root, name)
        ask = connection.root.ask
        for name in ("__func__", "__self__", "__globals__"):
            with pytest.raises(AttributeError):
                rpyc.core.netref.syncreq(ask, rpyc.core.consts.HANDLE_GETATTR, name)
        with pytest.raises(TypeError, match="bytes"):
            ask([b"by reference"])
        with pytest.raises(ValueError, match="pickling is disabled"):
            connection.sync_request(rpyc.core.consts.HANDLE_PICKLE, ask, 4)


@pytest.mark.parametrize("place", ["pyro"], indirect=True)
def test_nothing_but_the_one_function_of_a_pyro_hub_can_be_reached(place: Place) -> None:
    with closing(dial(place)) as sock:
        hub = Pyro5.api.Proxy("manifold", connected_socket=sock)
        assert hub._pyroMethods == {"ask"}
        assert not hub._pyroAttrs
        for name in ("_mailboxes", "__init__", "__class__", "__reduce__"):
            with pytest.raises(AttributeError):
                hub._pyroInvoke(name, (), {})


@pytest.mark.parametrize("place", ["pyro"], indirect=True)
def test_the_configuration_of_pyro_stays_as_it_is(place: Place) -> None:
    before = Pyro5.api.config.as_dict()
    with closing(PyroTransport.connect(place)) as transport:
        transport.open("manifold.tests.w.pyro", "manifold.tests.w")
        transport.send("manifold.tests.w.pyro", b"\x00")
        assert transport.receive(60.0) == b"\x00"
    assert Pyro5.api.config.as_dict() == before
