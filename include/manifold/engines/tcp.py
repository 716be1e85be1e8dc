"""Sockets and nothing else: `tcp://host:7000`, served by `manifold hub tcp://host:7000`.

Requests and answers are MessagePack behind their length. The hub has a thread for each connection, and keeps what waits
in its memory: when it dies, that is lost, and sent again. `tcp://:PASSWORD@host:7000` has a password of its own;
without, it is derived of MANIFOLD_SECRET. `?tls=true` and `tls_ca`, `tls_cert`, `tls_key` speak TLS.

Install: nothing more. Limits: one hub, on one host.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, ClassVar

import msgspec

from manifold.engines._remote.access import AccessDenied, Ask, Gate, client_tls, password, server_tls
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.place import Place
from manifold.engines._remote.transport import PART

_LENGTH = struct.Struct(">I")
_MOST = PART + 64 * 1024  # bytes of a frame
_TIMEOUT = 10.0


class TcpTransport(HubTransport):
    """One request at a time over one socket."""

    tls: ClassVar[bool] = True

    def dial(self, place: Place) -> Ask:
        self._socket = socket.create_connection((place.host, place.port), timeout=5.0)
        self._socket.settimeout(_TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (context := client_tls(place)) is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname=place.host)
        self._stream = self._socket.makefile("rb")
        return self._request

    def hang_up(self) -> None:
        self._stream.close()
        self._socket.close()

    def _request(self, *request: Any) -> Any:
        _write(self._socket, request)
        return _read(self._stream)

    @classmethod
    def serve(cls, place: Place) -> None:
        with _Hub(place) as hub:
            hub.serve_forever()


class _Hub(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, place: Place) -> None:
        self.mailboxes, self.password, self._tls = Mailboxes(), password(place), server_tls(place)
        self.address_family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        super().__init__((place.host, place.port), _Connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: a client that is slow to agree on TLS keeps nobody waiting."""
        request.settimeout(None if self._tls is None else _TIMEOUT)
        with suppress(OSError):
            if self._tls is not None:
                request = self._tls.wrap_socket(request, server_side=True)
                request.settimeout(None)
            super().finish_request(request, client_address)


class _Connection(StreamRequestHandler):
    server: _Hub
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        gate = Gate(self.server.mailboxes.ask, self.server.password)
        with suppress(OSError, EOFError, LookupError, AccessDenied, TypeError, ValueError, msgspec.MsgspecError):
            while True:
                _write(self.connection, gate.ask(*_read(self.rfile)))


def _write(sock: socket.socket, value: Any) -> None:
    body = msgspec.msgpack.encode(value)
    sock.sendall(_LENGTH.pack(len(body)) + body)


def _read(stream: Any) -> Any:
    if len(head := stream.read(_LENGTH.size)) < _LENGTH.size:
        raise EOFError("the other end has closed the connection")
    (length,) = _LENGTH.unpack(head)
    if length > _MOST:
        raise EOFError(f"a message of {length:,} bytes is none of ours")
    return msgspec.msgpack.decode(stream.read(length))


class TcpEngine(RemoteEngine):
    """Workers that reach the same hub."""

    transport = TcpTransport
