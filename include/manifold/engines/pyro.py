"""Pyro5: `pyro://host:9090`, served by `manifold hub pyro://host:9090`.

Each connection has a daemon of Pyro's own over a socket whose other side has proved to know the password, so that
nobody else sends it a byte of Pyro's protocol. It exposes one object, without a name server; nothing is unpickled, and
Pyro's configuration, which a process has once, stays as it is. What waits rests in the hub's memory: when it dies, that
is lost, and sent again. `pyro://:PASSWORD@host` has a password of its own; without, it is derived of MANIFOLD_SECRET.
`?tls=true` and `tls_ca`, `tls_cert`, `tls_key` speak TLS.

Install: pip install "airflow-manifold[pyro]". Limits: one hub, on one host.
"""

from __future__ import annotations

import socket
from typing import Any, ClassVar

import Pyro5.api
import Pyro5.errors

from manifold.abc import Place
from manifold.engines._remote.access import Ask
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.sockets import SocketHub, dial

_OBJECT = "manifold"


class PyroTransport(HubTransport):
    """One request at a time over one proxy, which belongs to the thread that made it."""

    tls: ClassVar[bool] = True
    proves: ClassVar[bool] = False
    errors = (Pyro5.errors.PyroError,)

    def dial(self, place: Place) -> Ask:
        self._socket = dial(place)
        try:
            self._proxy = Pyro5.api.Proxy(_OBJECT, connected_socket=self._socket)
        except BaseException:
            self._socket.close()
            raise
        self._proxy._pyroSerializer = "msgpack"  # Pyro's default, serpent, makes bytes base64
        return self._proxy.ask  # type: ignore[no-any-return]

    def hang_up(self) -> None:
        self._proxy._pyroRelease()
        self._socket.close()  # which Pyro leaves to whoever opened it

    @classmethod
    def serve(cls, place: Place) -> None:
        mailboxes = Mailboxes()

        def talk(sock: socket.socket) -> None:
            with Pyro5.api.Daemon(connected_socket=sock) as daemon:
                daemon.register(Hub(mailboxes), _OBJECT)
                daemon.requestLoop()

        with SocketHub(place, talk) as hub:
            hub.serve_forever()


@Pyro5.api.expose
class Hub:
    """What a daemon exposes; Pyro takes no class whose name begins with an underscore."""

    def __init__(self, mailboxes: Mailboxes) -> None:
        self._mailboxes = mailboxes

    def ask(self, *request: Any) -> Any:
        return self._mailboxes.ask(*request)


class PyroEngine(RemoteEngine):
    """Workers that reach the same hub."""

    transport = PyroTransport
