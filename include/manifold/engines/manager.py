"""The standard library's BaseManager: `manager://:KEY@host:5000`, served by `manifold hub manager://:KEY@host:5000`.

The hub is a `multiprocessing.managers.BaseManager`, and KEY is its `authkey`; without one it is derived of
MANIFOLD_SECRET. Requests and answers are MessagePack, where BaseManager would pickle: who has the key can read, delete
and add messages, but can run no code in the hub, and none in workers or coordinators. So the hub needs KEY and no other
secret. Nothing is encrypted: take `tcp://` with TLS, or `zeromq://`, where others listen to the network.

Install: nothing more. Limits: one hub, on one host, with a thread for each connection. It keeps what waits in its
memory: when it dies, that is lost, and sent again.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import closing
from multiprocessing import AuthenticationError, managers
from multiprocessing import connection as connections
from typing import Any

import msgspec

from manifold.engines._remote.access import AccessDenied, Ask, password
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.place import Place
from manifold.engines._remote.transport import PART

_MOST = PART + 64 * 1024  # bytes of a request or an answer
_CONNECTING = 5
_ANSWERING = 10  # seconds; a hub that is stopped or cut off closes no connection


class ManagerTransport(HubTransport):
    """BaseManager's protocol over one socket. Its proxies have no time limit, and share a connection in each thread."""

    errors = (managers.RemoteError, AssertionError)  # the second: what answers there is no BaseManager
    proves = False

    def dial(self, place: Place) -> Ask:
        key = password(place)
        try:
            with closing(_connected(place, key)) as connection:
                self._mailboxes, _ = _call(connection, None, "create", "mailboxes")
            self._connection = _connected(place, key)
            _call(self._connection, None, "accept_connection", "manifold")
        except AuthenticationError as exc:
            raise AccessDenied("the hub has another key; is MANIFOLD_SECRET, or the URL's, the same there?") from exc
        _limit(self._connection, _ANSWERING)
        return lambda *request: _call(self._connection, self._mailboxes, "ask", *request)

    def hang_up(self) -> None:
        self._connection.close()

    @classmethod
    def serve(cls, place: Place) -> None:
        mailboxes = Mailboxes()
        managers.listener_client["msgpack"] = _Listener, None  # type: ignore[attr-defined]  # the hub calls nobody
        managers.BaseManager.register("mailboxes", lambda: mailboxes, exposed=("ask",))
        address: Any = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][4]
        server = managers.BaseManager(address, password(place), "msgpack").get_server()
        server.public = ["create", "accept_connection"]  # without "shutdown"
        server.serve_forever()


class _Messages:
    """A connection that carries MessagePack, where BaseManager's own would pickle."""

    def __init__(self, connection: connections.Connection) -> None:
        self.fileno, self.close, self.send_bytes = connection.fileno, connection.close, connection.send_bytes
        self._receive = connection.recv_bytes

    def recv_bytes(self, most: int = _MOST) -> bytes:
        return self._receive(most)

    def send(self, value: Any) -> None:
        self.send_bytes(msgspec.msgpack.encode(value))

    def recv(self) -> Any:
        return msgspec.msgpack.decode(self.recv_bytes())


class _Listener(connections.Listener):
    def __init__(self, address: tuple[Any, ...], backlog: int) -> None:
        super().__init__(address, "AF_INET6" if ":" in address[0] else "AF_INET", max(backlog, 128))

    def accept(self) -> Any:
        connection = super().accept()
        with socket.socket(fileno=os.dup(connection.fileno())) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Messages(connection)


def _connected(place: Place, key: bytes) -> _Messages:
    sock = socket.create_connection((place.host, place.port), _CONNECTING)
    sock.settimeout(None)  # from here on its descriptor is read, which `_limit` bounds
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = connections.Connection(sock.detach())
    try:
        _limit(connection, _CONNECTING)
        connections.answer_challenge(connection, key)
        connections.deliver_challenge(connection, key)
    except BaseException:
        connection.close()
        raise
    return _Messages(connection)


def _limit(connection: Any, seconds: int) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", seconds, 0))


def _call(connection: _Messages, ident: str | None, method: str, *given: Any) -> Any:
    try:
        connection.send((ident, method, given, {}))
        kind, value = connection.recv()
    except BlockingIOError as exc:
        raise TimeoutError("the hub does not answer in time") from exc
    if kind != "#RETURN":
        raise managers.RemoteError(value)
    return value


class ManagerEngine(RemoteEngine):
    """Workers that reach the same hub."""

    transport = ManagerTransport
