"""RPyC: `rpyc://host:18861`, served by `manifold hub rpyc://host:18861`.

The hub is RPyC's `ThreadedServer`, with a thread for each connection; its authenticator asks for the password, so that
nobody else sends it a byte of RPyC's protocol. Both sides expose one function, of bytes to bytes: no object is passed
by reference, no attribute read, nothing unpickled. What waits rests in the hub's memory: when it dies, that is lost,
and sent again. `rpyc://:PASSWORD@host` has a password of its own; without, it is derived of MANIFOLD_SECRET.
`?tls=true` and `tls_ca`, `tls_cert`, `tls_key` speak TLS.

Install: pip install "airflow-manifold[rpyc]". Limits: one hub, on one host; RPyC 6.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, ClassVar

import msgspec
import rpyc
from rpyc.core.channel import Channel
from rpyc.core.stream import SocketStream
from rpyc.core.vinegar import GenericException
from rpyc.utils.authenticators import AuthenticationError
from rpyc.utils.factory import connect_channel
from rpyc.utils.server import ThreadedServer

from manifold.abc import Place
from manifold.engines._remote.access import AccessDenied, Ask, password, server_tls
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.sockets import TIMEOUT, admit, dial

_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode
_CONFIG = {
    **dict.fromkeys(("allow_all_attrs", "allow_public_attrs", "allow_exposed_attrs", "allow_safe_attrs"), False),
    **dict.fromkeys(("allow_setattr", "allow_delattr", "allow_pickle"), False),
    **dict.fromkeys(("import_custom_exceptions", "instantiate_custom_exceptions"), False),
    **dict.fromkeys(("include_local_traceback", "include_local_version"), False),
    "sync_request_timeout": TIMEOUT,
    "close_catchall": True,
    "bind_threads": False,  # whatever the environment says: both sides must agree
}


class RpycTransport(HubTransport):
    """One request at a time over one connection of RPyC's."""

    tls: ClassVar[bool] = True
    proves: ClassVar[bool] = False
    errors = (GenericException,)

    def dial(self, place: Place) -> Ask:
        self._socket = dial(place)
        channel = Channel(_Stream(self._socket), compress=False)
        self._connection = connect_channel(channel, config=_CONFIG)
        try:
            self._hub = self._connection.root.ask
        except BaseException:
            self.hang_up()
            raise
        return self._request

    def hang_up(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # or it would wait for a hub that does not answer
        self._connection.close()

    def _request(self, *request: Any) -> Any:
        return _decode(self._hub(_encode(request)))

    @classmethod
    def serve(cls, place: Place) -> None:
        secret, context = password(place), server_tls(place)

        def authenticated(sock: socket.socket) -> tuple[socket.socket, None]:
            try:
                return admit(sock, secret, context), None
            except (OSError, EOFError, AccessDenied) as exc:
                raise AuthenticationError(str(exc)) from exc

        ThreadedServer(
            _Hub(),
            hostname=place.host,
            port=place.port,
            ipv6=":" in place.host,
            authenticator=authenticated,
            protocol_config=_CONFIG,
        ).start()


class _Hub(rpyc.Service):  # type: ignore[misc]
    """What the hub exposes: `ask`, and no other name."""

    def __init__(self) -> None:
        self._mailboxes = Mailboxes()

    def on_connect(self, conn: Any) -> None:
        """Have the channel that RPyC made, which would compress what is compressed, as the client has its own."""
        conn._channel.stream, conn._channel.compress = _Stream(conn._channel.stream.sock), False

    def _rpyc_getattr(self, name: str) -> Any:
        if name != "ask":
            raise AttributeError(f"the hub has no {name!r}")
        return self._ask

    def _ask(self, request: bytes) -> bytes:
        if type(request) is not bytes:  # a reference, whose use would call back to the other side
            raise TypeError("a request must be bytes")
        return _encode(self._mailboxes.ask(*_decode(request)))


class _Stream(SocketStream):  # type: ignore[misc]
    """One that gives up after the socket's timeout, where RPyC's own reads on for ever; and copies no message for each
    64 KB of it that it writes."""

    __slots__ = ()

    def read(self, count: int) -> bytes:
        parts = []
        while count > 0:
            try:
                part = self.sock.recv(min(self.MAX_IO_CHUNK, count))
            except OSError as exc:
                self.close()
                raise EOFError(str(exc)) from exc
            if not part:
                self.close()
                raise EOFError("the hub has closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as exc:
            self.close()
            raise EOFError(str(exc)) from exc


class RpycEngine(RemoteEngine):
    """Workers that reach the same hub."""

    transport = RpycTransport
