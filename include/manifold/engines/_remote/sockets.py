"""Sockets of an adapter's own: TLS and the proof of the password come before a byte of its protocol is read."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

from manifold.abc import Place
from manifold.engines._remote.access import AccessDenied, Gate, client_tls, password, prove, server_tls

TIMEOUT = 10.0
"""Seconds in which the other side takes, or gives, some bytes."""
_CONNECTING = 5.0
_RANDOM = _PROOF = 32  # bytes
_ADMITTED = b"\x01"
# A peer that vanished without a word is noticed after 25 s.
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


def dial(place: Place) -> socket.socket:
    """Connect to a hub that admits by `admit`; the socket has `TIMEOUT`.

    Raises:
        AccessDenied: the hub does not know the password.
        OSError, EOFError: nothing answers there, or not as a hub does.
    """
    context = client_tls(place)
    sock = socket.create_connection((place.host, place.port), timeout=_CONNECTING)
    try:
        tune(sock)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=place.host)
        prove(partial(_ask, sock), password(place))
        sock.settimeout(TIMEOUT)
    except BaseException:
        sock.close()
        raise
    return sock


def admit(sock: socket.socket, secret: bytes, context: ssl.SSLContext | None) -> socket.socket:
    """Return the socket to speak by, without a timeout, once the other side has proved that it knows the password.

    Raises:
        AccessDenied: it does not.
        OSError, EOFError: it speaks something else, or nothing in `TIMEOUT` seconds.
    """
    sock.settimeout(TIMEOUT)
    try:
        tune(sock)
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        gate = Gate(_nothing_yet, secret)
        sock.sendall(b"".join(gate.ask("hello", _exactly(sock, _RANDOM))))
        gate.ask("prove", _exactly(sock, _PROOF))
        sock.sendall(_ADMITTED)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def tune(sock: socket.socket) -> None:
    """Send small messages at once, and notice a peer that vanished."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class SocketHub(ThreadingTCPServer):
    """A hub with a thread for each connection.

    Args:
        talk: speaks the adapter's protocol over a socket until that is closed; may raise OSError and EOFError.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, place: Place, talk: Callable[[socket.socket], None]) -> None:
        self._talk, self._password, self._tls = talk, password(place), server_tls(place)
        self.address_family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        super().__init__((place.host, place.port), BaseRequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: a client that is slow to prove itself keeps nobody waiting."""
        with suppress(OSError, EOFError, AccessDenied), admit(request, self._password, self._tls) as sock:
            self._talk(sock)


def _ask(sock: socket.socket, what: str, given: bytes) -> Any:
    sock.sendall(given)
    if what == "prove":
        return _exactly(sock, len(_ADMITTED))
    answer = _exactly(sock, _RANDOM + _PROOF)
    return answer[:_RANDOM], answer[_RANDOM:]


def _exactly(sock: socket.socket, number: int) -> bytes:
    data = b""
    while len(data) < number:
        if not (more := sock.recv(number - len(data))):
            raise EOFError(
                "the other side ended the connection before a password was asked for: is TLS the same there?"
            )
        data += more
    return data


def _nothing_yet(*_: Any) -> None:
    """What comes after the proof is the adapter's to answer."""
