"""The contract of a transport, where it stood before it went to `manifold.abc`."""

from manifold.abc.transport import KEPT, PART, MailboxFull, Place, Transport, TransportError

__all__ = ["KEPT", "PART", "MailboxFull", "Place", "Transport", "TransportError"]
