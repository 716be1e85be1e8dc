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
from typing import Any, ClassVar

import msgspec

from manifold.abc import Place
from manifold.abc.transport import PART
from manifold.engines._remote.access import Ask
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.sockets import SocketHub, dial

_LENGTH = struct.Struct(">I")
_MOST = PART + 64 * 1024  # bytes of a frame


class TcpTransport(HubTransport):
    """One request at a time over one socket."""

    tls: ClassVar[bool] = True
    proves: ClassVar[bool] = False

    def dial(self, place: Place) -> Ask:
        self._socket = dial(place)
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
        mailboxes = Mailboxes()

        def talk(sock: socket.socket) -> None:
            stream = sock.makefile("rb")
            with suppress(LookupError, TypeError, ValueError, RecursionError, msgspec.MsgspecError):
                while True:
                    _write(sock, mailboxes.ask(*_read(stream)))

        with SocketHub(place, talk) as hub:
            hub.serve_forever()


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
