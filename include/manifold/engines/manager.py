"""The standard library's BaseManager: `manager://:KEY@host:5000`, served by `manifold hub manager://:KEY@host:5000`.

The hub is a `multiprocessing.managers.BaseManager`, and KEY is its `authkey`; without one it is derived of
MANIFOLD_SECRET. Requests and answers are MessagePack, where BaseManager would pickle: who has the key can read, delete
and add messages, but can run no code in the hub, and none in workers or coordinators. So the hub needs KEY and no other
secret. `?tls=true` and `tls_ca`, `tls_cert`, `tls_key` speak TLS; without it nothing is encrypted.

Install: nothing more. Limits: one hub, on one host, with a thread for each connection. It keeps what waits in its
memory: when it dies, that is lost, and sent again.
"""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing import AuthenticationError, managers
from multiprocessing.connection import answer_challenge, deliver_challenge
from typing import Any, ClassVar

import msgspec

from manifold.abc import Place
from manifold.abc.transport import PART
from manifold.engines._remote.access import AccessDenied, Ask, client_tls, password, server_tls
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.sockets import TIMEOUT, tune

_LENGTH = struct.Struct("!i")  # as BaseManager has it
_MOST = PART + 64 * 1024  # bytes of a request or an answer
_CONNECTING = 5.0
_MUTE = 60.0  # seconds without a request after which the hub ends a connection; those that live ask each second


class ManagerTransport(HubTransport):
    """BaseManager's protocol over one socket. Its proxies have no time limit, and share a connection in each thread."""

    errors = (managers.RemoteError, AssertionError)  # the second: what answers there is no BaseManager
    proves = False
    tls: ClassVar[bool] = True

    def dial(self, place: Place) -> Ask:
        with closing(_connected(place)) as messages:
            self._mailboxes, _ = messages.call(None, "create", "mailboxes")
        self._messages = _connected(place)
        self._messages.call(None, "accept_connection", "manifold")
        return partial(self._messages.call, self._mailboxes, "ask")

    def hang_up(self) -> None:
        self._messages.close()

    @classmethod
    def serve(cls, place: Place) -> None:
        mailboxes, listener = Mailboxes(), partial(_Listener, server_tls(place))
        managers.listener_client["msgpack"] = listener, None  # type: ignore[attr-defined]  # the hub calls nobody
        managers.BaseManager.register("mailboxes", lambda: mailboxes, exposed=("ask",))
        address = (place.host, place.port)
        server = managers.BaseManager(address, password(place), "msgpack").get_server()
        server.public = ["create", "accept_connection"]  # without "shutdown"
        server.serve_forever()


class _Messages:
    """A connection of BaseManager's, with MessagePack for its pickles."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._socket, self._stream = sock, sock.makefile("rb")
        sock.settimeout(timeout)

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def recv_bytes(self, most: int = _MOST) -> bytes:
        """Return a message. Raises EOFError for any end of the connection: BaseManager would go on after an OSError."""
        try:
            (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
            if not 0 <= size <= most:
                raise EOFError(f"a message of {size:,} bytes is none of ours")
            return self._exactly(size)
        except OSError as exc:
            raise EOFError(str(exc)) from exc

    def send(self, value: Any) -> None:
        self.send_bytes(msgspec.msgpack.encode(value))

    def recv(self) -> Any:
        return msgspec.msgpack.decode(self.recv_bytes())

    def call(self, ident: str | None, method: str, *given: Any) -> Any:
        """Ask a hub; raises RemoteError with what it says against it."""
        self.send((ident, method, given, {}))
        kind, value = self.recv()
        if kind != "#RETURN":
            raise managers.RemoteError(value)
        return value

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        if len(data := self._stream.read(size)) < size:
            raise EOFError("the other side has ended the connection")
        return data


class _Listener:
    """What accepts connections for BaseManager, which proves the key in a thread for each; so TLS begins there, too."""

    def __init__(self, tls: ssl.SSLContext | None, address: tuple[str, int], backlog: int) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._tls, self.address = tls, address
        self._socket = socket.create_server(address, family=family, backlog=max(backlog, 128))

    def accept(self) -> _Messages:
        sock, _ = self._socket.accept()
        tune(sock)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return _Messages(sock, _MUTE)


def _connected(place: Place) -> _Messages:
    context = client_tls(place)
    with ExitStack() as undo:
        sock = undo.enter_context(socket.create_connection((place.host, place.port), _CONNECTING))
        tune(sock)
        if context is not None:
            sock = undo.enter_context(context.wrap_socket(sock, server_hostname=place.host))
        messages: Any = undo.enter_context(closing(_Messages(sock, _CONNECTING)))
        try:
            answer_challenge(messages, password(place))
            deliver_challenge(messages, password(place))
        except AuthenticationError as exc:
            raise AccessDenied("the hub has another key; is MANIFOLD_SECRET, or the URL's, the same there?") from exc
        sock.settimeout(TIMEOUT)
        undo.pop_all()
        return messages  # type: ignore[no-any-return]


class ManagerEngine(RemoteEngine):
    """Workers that reach the same hub."""

    transport = ManagerTransport
