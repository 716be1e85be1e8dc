"""What an adapter of another package writes a transport with; the contract itself is `manifold.abc.Transport`.

* `RemoteEngine`: the engine over a transport; an adapter names its transport, and nothing else. `check_url` reads its
  URLs for a registry row.
* `HubTransport`, `Mailboxes`, `PolledMailboxes`: a transport to a hub of ours, whatever carries the requests; the
  second is for a hub of one thread.
* `SocketHub`, `dial`, `password`, `client_tls`, `server_tls`: sockets that ask for a password, and TLS by URL options.
* `KEPT`, `PART`: how long a mailbox outlives its last use, in seconds; how large a message is at most, in bytes.
"""

from manifold.abc.transport import KEPT, PART, MailboxFull, Place, Transport, TransportError
from manifold.engines._remote.access import client_tls, password, server_tls
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.engines._remote.place import check_url
from manifold.engines._remote.polled import PolledMailboxes
from manifold.engines._remote.sockets import SocketHub, dial

__all__ = [
    "KEPT",
    "PART",
    "HubTransport",
    "MailboxFull",
    "Mailboxes",
    "Place",
    "PolledMailboxes",
    "RemoteEngine",
    "SocketHub",
    "Transport",
    "TransportError",
    "check_url",
    "client_tls",
    "dial",
    "password",
    "server_tls",
]
