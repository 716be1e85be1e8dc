"""ZeroMQ: `zeromq://host:5555`, served by `manifold hub zeromq://host:5555`.

Always encrypted, by CURVE: the keys of hub and clients are derived of one password, that of the URL
(`zeromq://:PASSWORD@host:5555`), or without one what is derived of MANIFOLD_SECRET. Who does not have it gets no
connection. Take a long random one: from what travels, a short one could be guessed.

The hub is one thread that answers requests, one at a time from each client, and keeps what waits in its memory: when it
dies, that is lost, and sent again.

Install: `pip install "airflow-manifold[zeromq]"`. Limits: one hub, on one host.
"""

from __future__ import annotations

from contextlib import suppress
from socket import AF_INET6, SOCK_STREAM, getaddrinfo
from typing import Any

import msgspec
import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from manifold.abc import Place
from manifold.abc.transport import PART
from manifold.engines._remote.access import AccessDenied, Ask, derived, password
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport
from manifold.engines._remote.polled import TURN, PolledMailboxes

_ENCODE, _DECODE = msgspec.msgpack.encode, msgspec.msgpack.decode
_CONNECTING, _ANSWERING = 5_000, 10_000  # milliseconds
_ALIVE = {zmq.HEARTBEAT_IVL: 2_000, zmq.HEARTBEAT_TIMEOUT: 6_000, zmq.HEARTBEAT_TTL: 30_000}  # the last: for the hub
_OF_CLIENT = {zmq.LINGER: 0, zmq.SNDTIMEO: _CONNECTING, **_ALIVE}
_BOUNDS = {zmq.RCVHWM: 4, zmq.SNDHWM: 4, zmq.MAXMSGSIZE: PART + 64 * 1024}  # of each client, in the hub
_UP, _DOWN, _UNREACHABLE = zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED


class ZeromqTransport(HubTransport):
    """One request at a time from a DEALER; its monitor tells when the connection ends, which ZeroMQ else hides."""

    errors = (zmq.ZMQError,)
    proves = False

    def dial(self, place: Place) -> Ask:
        self._dealer = _socket(zmq.DEALER, place, "client", _OF_CLIENT)
        self._dealer.curve_serverkey = _keys(place, "hub")[1]
        self._monitor = self._dealer.get_monitor_socket(_UP | _DOWN | _UNREACHABLE)
        self._dealer.connect(_endpoint(place, self._dealer))
        self._wait_until_up()
        self._poller = zmq.Poller()
        self._poller.register(self._dealer, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        return self._request

    def hang_up(self) -> None:
        self._dealer.disable_monitor()
        self._monitor.close()
        self._dealer.close()

    def _wait_until_up(self) -> None:
        if not self._monitor.poll(_CONNECTING):
            raise TimeoutError("no answer, or none of a hub")
        event = recv_monitor_message(self._monitor)["event"]
        if event == _UNREACHABLE:
            raise ConnectionRefusedError("connection refused")
        if event == _DOWN:
            raise AccessDenied("the hub has another password; is MANIFOLD_SECRET, or the URL's, the same there?")

    def _request(self, *request: Any) -> Any:
        self._dealer.send(_ENCODE(request))
        ready = dict(self._poller.poll(_ANSWERING))
        if self._dealer not in ready:
            raise ConnectionResetError("the hub has ended, or answers no more" if ready else "the hub does not answer")
        done, value = _DECODE(self._dealer.recv())
        if not done:
            raise LookupError(value)
        return value

    @classmethod
    def serve(cls, place: Place) -> None:
        try:
            hub = _Hub(place)
        except zmq.ZMQError as exc:
            raise OSError(exc.errno, str(exc)) from exc
        hub.serve_forever()


class _Hub:
    """A ROUTER for requests, and the REP that ZeroMQ asks which clients to admit (ZAP, its RFC 27)."""

    def __init__(self, place: Place) -> None:
        _, self._admitted = _keys(place, "client")
        self._zap: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        self._zap.bind("inproc://zeromq.zap.01")
        self._router = _socket(zmq.ROUTER, place, "hub", {zmq.CURVE_SERVER: 1, **_BOUNDS})
        self._router.bind(_endpoint(place, self._router))

    def serve_forever(self) -> None:
        mailboxes = PolledMailboxes(lambda client, *answer: self._router.send_multipart([client, _ENCODE(answer)]))
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._zap, zmq.POLLIN)
        while True:
            for ready, _ in poller.poll(int(1000 * TURN)):
                if ready is self._zap:
                    self._admit(*self._zap.recv_multipart())
                else:
                    client, *request = self._router.recv_multipart()
                    with suppress(msgspec.MsgspecError):
                        mailboxes.ask(client, _DECODE(b"".join(request)))
            mailboxes.turn()

    def _admit(self, version: bytes, number: bytes, *given: bytes) -> None:
        *_, mechanism, key = given
        status = b"200" if mechanism == b"CURVE" and z85.encode(key) == self._admitted else b"400"
        self._zap.send_multipart([version, number, status, b"", b"", b""])


def _socket(kind: int, place: Place, whose: str, options: dict[zmq.SocketOption, int]) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    for option, value in options.items():
        socket.set(option, value)
    socket.curve_secretkey, socket.curve_publickey = _keys(place, whose)
    return socket


def _keys(place: Place, whose: str) -> tuple[bytes, bytes]:
    """Return the secret and the public CURVE key of "hub" or "client"."""
    secret = z85.encode(derived(password(place), f"manifold curve {whose}"))
    return secret, zmq.curve_public(secret)


def _endpoint(place: Place, socket: zmq.Socket[bytes]) -> str:
    """Return the address for ZeroMQ, which would resolve the name itself, without a word on what is wrong with it."""
    family, _, _, _, (host, *_) = min(getaddrinfo(place.host, place.port, type=SOCK_STREAM))
    socket.set(zmq.IPV6, int(family == AF_INET6))
    return f"tcp://[{host!s}]:{place.port}" if family == AF_INET6 else f"tcp://{host!s}:{place.port}"


class ZeromqEngine(RemoteEngine):
    """Workers that reach the same hub."""

    transport = ZeromqTransport
